use super::*;
use etherparse::{IpDscp, IpEcn, IpNumber, Ipv4Header};
use proptest::prelude::*;

proptest! {
    /// Headers are equal to those written by etherparse.
    #[test]
    fn headers_are_those_of_another_library(
        addrs in any::<[u32; 2]>(),
        (protocol, ttl, tos, ident, dont_fragment) in any::<(u8, u8, u8, u16, bool)>(),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let [src, dst] = addrs.map(Ipv4Addr::from);
        let len = u16::try_from(payload.len()).unwrap();
        let mut header = Ipv4Header::new(len, ttl, IpNumber(protocol), src.octets(), dst.octets()).unwrap();
        header.dscp = IpDscp::try_new(tos >> 2).unwrap();
        header.ecn = IpEcn::try_new(tos & 3).unwrap();
        header.identification = ident;
        header.dont_fragment = dont_fragment;
        header.header_checksum = header.calc_header_checksum();
        let fields = Ipv4Fields { src, dst, protocol, ttl, tos, ident, dont_fragment };
        let expected = [&[0; ETHERNET_HEADER_LEN][..], &header.to_bytes(), &payload].concat();
        prop_assert_eq!(ipv4(fields, &payload), expected);
    }
}
