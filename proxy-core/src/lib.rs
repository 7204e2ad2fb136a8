//! Kubernetes objects to rule text: what kube-proxy would load on a node.
