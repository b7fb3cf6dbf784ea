//! Who may send: networks, by the address that a connection or a datagram comes from.
//!
//! An empty list lets everybody in. IPv4 addresses that arrive at an IPv6 socket (`::ffff:10.0.0.1`) are taken as the IPv4
//! addresses that they are. The sender of a datagram can lie about its address; the list keeps mistakes and passers-by
//! out, and does not replace a firewall.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::LOG_INTERVAL;
use super::intake::Intake;
use crate::live_setting::LiveSetting;
use crate::log_limiter::LogLimiter;
use crate::reject::RejectReason;

/// Networks at most: every connection and datagram is compared with all of them.
pub const MAX_NETWORKS: usize = 1_000;

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing_bits = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        differing_bits >= u32::from(self.prefix_bits)
    }
}

fn address_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected an address or a network, such as 10.0.0.0/8, 192.168.1.7 or fd00::/8";
        let refused = || format!("'{text}' is no network; {expected}");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(it, prefix)| (it, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let all_bits = address_bits(address);
        let mut prefix_bits = all_bits;
        if let Some(prefix) = prefix {
            let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
            let bits = prefix.parse().ok().filter(|bits| is_number && *bits <= all_bits);
            prefix_bits = bits.ok_or_else(refused)?;
        }
        let canonical = address.to_canonical();
        if canonical.is_ipv4() && address.is_ipv6() {
            let Some(bits) = prefix_bits.checked_sub(96) else { return Err(refused()) };
            prefix_bits = bits;
        }
        let network = Self { address: canonical, prefix_bits };
        let first = network.first_address();
        if first != canonical {
            return Err(format!(
                "'{text}' has bits set after the first {prefix_bits}; expected {first}/{prefix_bits} for the whole \
                 network, or {canonical} for the one address"
            ));
        }
        Ok(network)
    }
}

impl Network {
    fn first_address(&self) -> IpAddr {
        let prefix = u32::from(self.prefix_bits);
        match self.address {
            IpAddr::V4(it) => {
                IpAddr::V4((it.to_bits() & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into())
            }
            IpAddr::V6(it) => {
                IpAddr::V6((it.to_bits() & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into())
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.address)?;
        if self.prefix_bits < address_bits(self.address) {
            write!(formatter, "/{}", self.prefix_bits)?;
        }
        Ok(())
    }
}

/// Reads the networks of a setting.
///
/// # Errors
/// The first that is none, and what was expected.
pub fn read_networks(texts: &[String]) -> Result<Vec<Network>, String> {
    if texts.len() > MAX_NETWORKS {
        return Err(format!("{} networks; expected at most {MAX_NETWORKS}", texts.len()));
    }
    texts.iter().map(|text| text.parse()).collect()
}

/// Lets senders in, and counts and logs whom it does not.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    setting: LiveSetting<Vec<Network>>,
    /// The setting's value when it was last looked at.
    allowed: Arc<Vec<Network>>,
    log: LogLimiter,
}

impl Doorkeeper {
    pub(super) fn new(setting: LiveSetting<Vec<Network>>) -> Self {
        let allowed = setting.get();
        Self { setting, allowed, log: LogLimiter::every(LOG_INTERVAL) }
    }

    /// Takes the setting up; returns whether it has changed, so that whoever is inside may have to go.
    pub(super) fn has_new_list(&mut self) -> bool {
        let allowed = self.setting.get();
        !Arc::ptr_eq(&std::mem::replace(&mut self.allowed, Arc::clone(&allowed)), &allowed)
    }

    /// Whether senders with this address may send.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(address))
    }

    /// Whether this sender of a connection or datagram may send.
    pub(super) fn admits(&mut self, peer: SocketAddr, intake: &Intake, now: Duration) -> bool {
        let is_allowed = self.allows(peer.ip());
        if !is_allowed {
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string();
            intake.reject_peer(RejectReason::NetworkNotAllowed, &peer);
            if self.log.pass(now).is_some() {
                tracing::warn!(
                    peer,
                    "a sender was refused: its address is in no network of `graphite_allow`"
                );
            }
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().unwrap_or_else(|error| panic!("{error}"));
        network.contains(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_contains_the_addresses_that_begin_as_it_does() {
        assert!(contains("10.0.0.0/8", "10.255.255.255") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(
            contains("192.168.1.128/25", "192.168.1.128") && !contains("192.168.1.128/25", "192.168.1.127")
        );
        assert!(contains("192.168.1.7", "192.168.1.7") && !contains("192.168.1.7", "192.168.1.6"));
        assert!(contains("0.0.0.0/0", "255.1.2.3") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::/8", "fdff::1") && !contains("fd00::/8", "fe00::1"));
        assert!(contains("::1", "::1") && !contains("::1", "::2"));
        assert!(contains("::/0", "fe00::1") && !contains("::/0", "10.0.0.1"));
    }

    #[test]
    fn an_ipv4_address_behind_an_ipv6_socket_is_an_ipv4_address() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3") && !contains("10.0.0.0/8", "::ffff:11.1.2.3"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3") && !contains("::ffff:10.0.0.0/104", "11.1.2.3"));
        assert!(!contains("::/0", "::ffff:10.1.2.3"), "a list of IPv6 networks lets no IPv4 in");
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in
            ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8", "::ffff:10.0.0.0/8"]
        {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.contains("is no network") && error.contains("expected"), "{error}");
        }
        let error = "10.1.0.0/8".parse::<Network>().expect_err("host bits");
        assert!(error.contains("10.0.0.0/8"), "{error}");
        let network: Network = "fd00::1".parse().expect("valid");
        assert_eq!(network.to_string(), "fd00::1");
        assert_eq!(read_networks(&["10.0.0.0/8".to_owned()]).expect("valid")[0].to_string(), "10.0.0.0/8");
        assert!(read_networks(&vec!["::1".to_owned(); MAX_NETWORKS + 1]).is_err());
    }
}
