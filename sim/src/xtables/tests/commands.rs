//! Single commands, as called by kube-proxy, kubelet and CNI plugins.

use crate::hook::Family;
use crate::ipset::Ipset;
use crate::xtables::{CommandOutcome, RuleErrorKind, TableKind, Xtables};

/// Runs commands, each with `Ok` or the expected error kind.
fn run(commands: &[(&str, Result<(), RuleErrorKind>)]) -> Xtables {
    let mut xtables = Xtables::default();
    for (number, (command, expected)) in (1..).zip(commands) {
        let found = xtables.command(&mut Ipset::default(), "setup.sh", number, command);
        assert_eq!(found.as_ref().map(|_| ()).map_err(|error| error.kind), *expected, "{command}: {found:?}");
    }
    xtables
}

#[test]
fn callers_can_tell_errors_apart() {
    use RuleErrorKind::{
        ChainExists, ChainInUse, ChainNotEmpty, NoSuchChain, NoSuchRule, NoSuchTable, Refused, Syntax,
        Unsupported,
    };
    run(&[
        ("iptables -t nat -N KUBE-SERVICES", Ok(())),
        ("iptables -t nat -N KUBE-SERVICES", Err(ChainExists)),
        ("iptables -N KUBE-SERVICES", Ok(())),
        ("iptables -w 5 -W 100000 -C INPUT -j KUBE-SERVICES", Err(NoSuchRule)),
        ("iptables -w 5 -W 100000 -I INPUT -j KUBE-SERVICES", Ok(())),
        ("iptables -w 5 -W 100000 -C INPUT -j KUBE-SERVICES", Ok(())),
        ("iptables -X KUBE-SERVICES", Err(ChainInUse)),
        ("iptables -A KUBE-SERVICES -j RETURN", Ok(())),
        ("iptables -X KUBE-SERVICES", Err(ChainNotEmpty)),
        ("iptables -F KUBE-SERVICES", Ok(())),
        ("iptables -D INPUT 2", Err(NoSuchRule)),
        ("iptables -D INPUT 1", Ok(())),
        ("iptables -X KUBE-SERVICES", Ok(())),
        ("iptables -X KUBE-SERVICES", Err(NoSuchChain)),
        ("iptables -X INPUT", Err(Refused)),
        ("iptables -A INPUT -j NONE", Err(NoSuchChain)),
        ("iptables -t natt -N X", Err(NoSuchTable)),
        ("iptables -t nat -A PREROUTING -j DROP", Err(Refused)),
        ("iptables -t nat -A PREROUTING -j MASQUERADE", Err(Refused)),
        ("iptables -t nat -P PREROUTING DROP", Err(Refused)),
        ("iptables -L", Err(Unsupported)),
        ("iptables -A INPUT -m u32 --u32 0=0", Err(Unsupported)),
        ("iptables -A INPUT -j ACCEPT | tee log", Err(Unsupported)),
        ("iptables", Err(Syntax)),
        ("ipset create x hash:ip", Err(Syntax)),
        ("", Err(Syntax)),
    ]);
}

#[test]
fn words_are_those_of_a_shell() {
    let xtables = run(&[
        ("iptables -A INPUT -m comment --comment \"two words\" -j ACCEPT # why", Ok(())),
        ("iptables -A INPUT -m comment --comment 'it'\"'\"'s' -j DROP", Ok(())),
        ("iptables -A INPUT -m comment --comment a\\ b", Ok(())),
    ]);
    let saved = xtables.save(Family::Ipv4, false);
    for rule in ["\"two words\" -j ACCEPT", "\"it\\'s\" -j DROP", "\"a b\"\n"] {
        assert!(saved.contains(rule), "{rule} in {saved}");
    }
}

#[test]
fn rules_are_listed_as_commands() {
    let mut xtables = run(&[
        ("iptables -P FORWARD DROP", Ok(())),
        ("iptables -N DOCKER-USER", Ok(())),
        ("iptables -A FORWARD -j DOCKER-USER", Ok(())),
        ("iptables -A DOCKER-USER -j RETURN", Ok(())),
    ]);
    let listed = xtables.command(&mut Ipset::default(), "f", 1, "iptables -S").unwrap();
    let all = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\n";
    assert_eq!(listed, CommandOutcome::Rules(all.to_owned()));
    let one = xtables.command(&mut Ipset::default(), "f", 1, "iptables -S DOCKER-USER").unwrap();
    assert_eq!(one, CommandOutcome::Rules("-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n".to_owned()));
}

#[test]
fn tables_exist_once_they_have_been_touched() {
    let xtables = run(&[("iptables -t nat -S", Ok(())), ("ip6tables -N X", Ok(()))]);
    assert!(
        xtables.has_table(Family::Ipv4, TableKind::Nat)
            && !xtables.has_table(Family::Ipv4, TableKind::Filter)
    );
    assert!(
        xtables.has_table(Family::Ipv6, TableKind::Filter)
            && !xtables.has_table(Family::Ipv6, TableKind::Nat)
    );
}

#[test]
fn conntrack_is_needed_while_some_rule_asks_for_it() {
    let mut xtables = run(&[("iptables -A INPUT -p tcp", Ok(()))]);
    assert!(!xtables.uses_conntrack(Family::Ipv4));
    for (add, remove) in [
        ("iptables -A INPUT -m state --state NEW", "iptables -F INPUT"),
        ("iptables -t nat -A POSTROUTING -j MASQUERADE", "iptables -t nat -D POSTROUTING 1"),
        ("iptables -t raw -A OUTPUT -j NOTRACK", "iptables -t raw -F"),
    ] {
        xtables.command(&mut Ipset::default(), "f", 1, add).unwrap();
        assert!(xtables.uses_conntrack(Family::Ipv4), "{add}");
        xtables.command(&mut Ipset::default(), "f", 1, remove).unwrap();
        assert!(!xtables.uses_conntrack(Family::Ipv4), "{remove}");
    }
}

#[test]
fn what_portmap_flannel_and_docker_write_is_taken() {
    for (number, command) in (1..).zip(CNI.lines()) {
        let mut xtables = Xtables::default();
        for chain in
            ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK", "CNI-DN-1234567890abcdef"]
        {
            xtables.command(&mut Ipset::default(), "f", 1, &format!("iptables -t nat -N {chain}")).unwrap();
        }
        for chain in ["FLANNEL-POSTRTG", "DOCKER"] {
            xtables.command(&mut Ipset::default(), "f", 1, &format!("iptables -t nat -N {chain}")).unwrap();
        }
        for chain in
            ["FLANNEL-FWD", "DOCKER", "DOCKER-USER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"]
        {
            xtables.command(&mut Ipset::default(), "f", 1, &format!("iptables -N {chain}")).unwrap();
        }
        if let Err(error) = xtables.command(&mut Ipset::default(), "cni", number, command) {
            panic!("{error}");
        }
    }
}

/// The portmap plugin of CNI, flannel, Docker.
const CNI: &str = "\
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
iptables -t nat -A POSTROUTING -m comment --comment \"CNI portfwd requiring masquerade\" -j CNI-HOSTPORT-MASQ
iptables -t nat -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
iptables -t nat -A CNI-HOSTPORT-SETMARK -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --or-mark 0x2000
iptables -t nat -A CNI-HOSTPORT-DNAT -m comment --comment \"dnat name: \\\"cbr0\\\" id: \\\"0123\\\"\" -m multiport -p tcp --destination-ports 8080,8443 -j CNI-DN-1234567890abcdef
iptables -t nat -A CNI-DN-1234567890abcdef -p tcp --dport 8080 -s 10.244.1.0/24 -j CNI-HOSTPORT-SETMARK
iptables -t nat -A CNI-DN-1234567890abcdef -p tcp --dport 8080 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK
iptables -t nat -A CNI-DN-1234567890abcdef -p tcp --dport 8080 -j DNAT --to-destination 10.244.1.5:80
iptables -t nat -A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG
iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment \"flanneld masq\" -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/24 -d 10.244.0.0/16 -m comment --comment \"flanneld masq\" -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment \"flanneld masq\" -j MASQUERADE --random-fully
iptables -A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD
iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A DOCKER -i docker0 -j RETURN
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP";
