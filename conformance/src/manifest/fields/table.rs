//! The fields of Kubernetes objects, as in the OpenAPI document of Kubernetes 1.34.

/// A type, and its fields: each with the type of its value or of the items of its list after a colon, if the fields of that
/// type are checked too.
pub(super) const TYPES: [(&str, &str); 53] = [
    ("Service", "apiVersion kind metadata:ObjectMeta spec:ServiceSpec status:ServiceStatus"),
    (
        "ServiceSpec",
        "allocateLoadBalancerNodePorts clusterIP clusterIPs externalIPs externalName externalTrafficPolicy \
         healthCheckNodePort internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP \
         loadBalancerSourceRanges ports:ServicePort publishNotReadyAddresses selector sessionAffinity \
         sessionAffinityConfig:SessionAffinityConfig trafficDistribution type",
    ),
    ("ServicePort", "appProtocol name nodePort port protocol targetPort"),
    ("SessionAffinityConfig", "clientIP:ClientIPConfig"),
    ("ClientIPConfig", "timeoutSeconds"),
    ("ServiceStatus", "conditions loadBalancer:LoadBalancerStatus"),
    ("LoadBalancerStatus", "ingress:LoadBalancerIngress"),
    ("LoadBalancerIngress", "hostname ip ipMode ports"),
    ("Node", "apiVersion kind metadata:ObjectMeta spec:NodeSpec status:NodeStatus"),
    ("NodeSpec", "configSource externalID podCIDR podCIDRs providerID taints:Taint unschedulable"),
    (
        "NodeStatus",
        "addresses:NodeAddress allocatable capacity conditions config daemonEndpoints features images \
         nodeInfo phase runtimeHandlers volumesAttached volumesInUse",
    ),
    ("NodeAddress", "address type"),
    ("Taint", "effect key timeAdded value"),
    ("Toleration", "effect key operator tolerationSeconds value"),
    ("Pod", "apiVersion kind metadata:ObjectMeta spec:PodSpec status:PodStatus"),
    (
        "PodSpec",
        "activeDeadlineSeconds affinity automountServiceAccountToken containers:Container dnsConfig dnsPolicy \
         enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname \
         hostnameOverride imagePullSecrets initContainers:Container nodeName nodeSelector os overhead \
         preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy \
         runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName \
         setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds \
         tolerations:Toleration topologySpreadConstraints volumes",
    ),
    (
        "Container",
        "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports:ContainerPort \
         readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe \
         stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts \
         workingDir",
    ),
    ("ContainerPort", "containerPort hostIP hostPort name protocol"),
    (
        "PodStatus",
        "conditions:PodCondition containerStatuses ephemeralContainerStatuses extendedResourceClaimStatus \
         hostIP hostIPs initContainerStatuses message nominatedNodeName observedGeneration phase podIP \
         podIPs:PodIP qosClass reason resize resourceClaimStatuses startTime",
    ),
    ("PodIP", "ip"),
    ("PodCondition", "lastProbeTime lastTransitionTime message observedGeneration reason status type"),
    (
        "ObjectMeta",
        "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName \
         generation labels managedFields name namespace ownerReferences:OwnerReference resourceVersion \
         selfLink uid",
    ),
    ("OwnerReference", "apiVersion blockOwnerDeletion controller kind name uid"),
    ("Deployment", "apiVersion kind metadata:ObjectMeta spec:DeploymentSpec status"),
    (
        "DeploymentSpec",
        "minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector:LabelSelector \
         strategy template:PodTemplateSpec",
    ),
    ("PodTemplateSpec", "metadata:ObjectMeta spec:PodSpec"),
    ("LabelSelector", "matchExpressions:LabelSelectorRequirement matchLabels"),
    ("LabelSelectorRequirement", "key operator values"),
    ("StatefulSet", "apiVersion kind metadata:ObjectMeta spec:StatefulSetSpec status"),
    (
        "StatefulSetSpec",
        "minReadySeconds ordinals:StatefulSetOrdinals persistentVolumeClaimRetentionPolicy \
         podManagementPolicy replicas revisionHistoryLimit selector:LabelSelector serviceName \
         template:PodTemplateSpec updateStrategy volumeClaimTemplates",
    ),
    ("StatefulSetOrdinals", "start"),
    ("DaemonSet", "apiVersion kind metadata:ObjectMeta spec:DaemonSetSpec status"),
    (
        "DaemonSetSpec",
        "minReadySeconds revisionHistoryLimit selector:LabelSelector template:PodTemplateSpec updateStrategy",
    ),
    ("ReplicaSet", "apiVersion kind metadata:ObjectMeta spec:ReplicaSetSpec status"),
    ("ReplicaSetSpec", "minReadySeconds replicas selector:LabelSelector template:PodTemplateSpec"),
    ("ReplicationController", "apiVersion kind metadata:ObjectMeta spec:ReplicationControllerSpec status"),
    ("ReplicationControllerSpec", "minReadySeconds replicas selector template:PodTemplateSpec"),
    ("Job", "apiVersion kind metadata:ObjectMeta spec:JobSpec status"),
    (
        "JobSpec",
        "activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy \
         manualSelector maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy \
         selector:LabelSelector successPolicy suspend template:PodTemplateSpec ttlSecondsAfterFinished",
    ),
    (
        "EndpointSlice",
        "addressType apiVersion endpoints:Endpoint kind metadata:ObjectMeta ports:EndpointPort",
    ),
    (
        "Endpoint",
        "addresses conditions:EndpointConditions deprecatedTopology hints:EndpointHints hostname nodeName \
         targetRef:ObjectReference zone",
    ),
    ("EndpointConditions", "ready serving terminating"),
    ("EndpointPort", "appProtocol name port protocol"),
    ("EndpointHints", "forNodes:ForNode forZones:ForZone"),
    ("ForZone", "name"),
    ("ForNode", "name"),
    ("Endpoints", "apiVersion kind metadata:ObjectMeta subsets:EndpointSubset"),
    ("EndpointSubset", "addresses:EndpointAddress notReadyAddresses:EndpointAddress ports:EndpointsPort"),
    ("EndpointAddress", "hostname ip nodeName targetRef:ObjectReference"),
    ("EndpointsPort", "appProtocol name port protocol"),
    ("ObjectReference", "apiVersion fieldPath kind name namespace resourceVersion uid"),
    ("Namespace", "apiVersion kind metadata:ObjectMeta spec status"),
    (
        "KubeProxyConfiguration",
        "apiVersion bindAddress bindAddressHardFail clientConnection clusterCIDR configSyncPeriod conntrack \
         detectLocal detectLocalMode enableProfiling featureGates healthzBindAddress hostnameOverride \
         iptables ipvs kind logging metadata metricsBindAddress mode nftables nodePortAddresses oomScoreAdj \
         portRange showHiddenMetricsForVersion windowsRunAsService winkernel",
    ),
];
