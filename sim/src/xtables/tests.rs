mod kube_proxy;
mod net;
mod text;
mod walk;
