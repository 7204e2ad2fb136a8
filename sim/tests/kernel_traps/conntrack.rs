//! D-01 to D-14: conntrack.

use crate::check;

#[test]
fn d03_a_syn_that_is_sent_again_is_new_while_nat_is_not_asked() {
    check(
        "d03",
        "
        iptables -t nat -A PREROUTING -p tcp -d 10.96.0.1 -j DNAT --to-destination 10.1.0.2:8080
        iptables -A FORWARD -m conntrack --ctstate NEW
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S
        conntrack -L
        sleep 2
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S
        conntrack -L
        eth1 < tcp 10.1.0.2:8080 10.0.0.2:4000 S. seq=5000 ack=1001
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 . seq=1001 ack=5001
        iptables-save -c -t nat
        iptables-save -c -t filter
        conntrack -L
        ",
    );
}
