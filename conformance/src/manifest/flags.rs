//! Flags of a program in a container.

use proxy_core::objects::KubeProxyConfiguration;

/// The words of a command line: of a container, or of a shell script in it.
pub(super) struct Flags<'a>(Vec<&'a str>);

impl<'a> Flags<'a> {
    pub(super) fn of(texts: impl Iterator<Item = &'a str>) -> Self {
        // Arguments are words, scripts with quotes, or a list in JSON.
        let is_between = |letter: char| letter.is_whitespace() || "\"'[],;&|\\".contains(letter);
        let split = |text: &'a str| {
            // A flag's value may be a list with commas.
            let is_plain = !text.contains(['"', ' ', '\n']);
            let words: Vec<&str> = if is_plain { vec![text] } else { text.split(is_between).collect() };
            words.into_iter().filter(|word| !word.is_empty())
        };
        Self(texts.flat_map(split).collect())
    }

    /// True if one of the words is this program.
    pub(super) fn are_of(&self, program: &str) -> bool {
        self.0.iter().any(|word| word.rsplit('/').next() == Some(program))
    }

    /// The value of `--NAME=VALUE`, or of `--NAME VALUE`.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().enumerate().find_map(|(index, word)| {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
            match flag.strip_prefix(name)? {
                "" if word.starts_with('-') => self.0.get(index + 1).copied(),
                rest => rest.strip_prefix('='),
            }
        })
    }

    /// The configuration that these flags of kube-proxy stand for.
    ///
    /// Kubernetes: `AddFlags`, cmd/kube-proxy/app/options.go.
    pub(super) fn kube_proxy_configuration(&self) -> KubeProxyConfiguration {
        let text = |name: &str| self.get(name).unwrap_or_default().to_owned();
        let mut configuration = KubeProxyConfiguration {
            mode: text("proxy-mode"),
            cluster_cidr: text("cluster-cidr"),
            detect_local_mode: text("detect-local-mode"),
            bind_address: text("bind-address"),
            ..KubeProxyConfiguration::default()
        };
        configuration.detect_local.bridge_interface = text("pod-bridge-interface");
        configuration.detect_local.interface_name_prefix = text("pod-interface-name-prefix");
        let addresses = self.get("nodeport-addresses").unwrap_or_default();
        configuration.node_port_addresses =
            addresses.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let is_on = |word: &str| matches!(word, "--masquerade-all" | "--masquerade-all=true");
        configuration.iptables.masquerade_all = self.0.iter().any(|word| is_on(word));
        configuration.iptables.masquerade_bit =
            self.get("iptables-masquerade-bit").and_then(|value| value.parse().ok());
        configuration.ipvs.scheduler = text("ipvs-scheduler");
        configuration
    }
}
