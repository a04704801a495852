//! The number of connections, in all and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::network::network;
use crate::base::{limit, metrics};

/// The connections of a node. A clone is one more reference.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    max: usize,
    max_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
}

impl Connections {
    /// No connections yet, and these limits of all and of one address.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Shared { max, max_per_address, open: Mutex::default() }))
    }

    /// Counts a connection from this address until the value is dropped. `None` if a limit is reached. Behind
    /// a proxy (`is_proxy`) all connections are from the same address, and only their number counts.
    pub fn admit(&self, address: IpAddr, is_proxy: bool) -> Option<Connection> {
        let network = (!is_proxy).then(|| network(address));
        let mut open = self.0.open.lock();
        if open.total >= self.0.max {
            drop(open);
            limit::reached("connections", address);
            return None;
        }
        if let Some(network) = network {
            let of_network = open.by_network.entry(network).or_default();
            if *of_network >= self.0.max_per_address {
                drop(open);
                limit::reached("connections_per_address", address);
                return None;
            }
            *of_network += 1;
        }
        open.total += 1;
        metrics::connections(1.0);
        Some(Connection { connections: self.clone(), network })
    }
}

/// An open connection.
pub struct Connection {
    connections: Connections,
    network: Option<IpAddr>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.0.open.lock();
        open.total -= 1;
        metrics::connections(-1.0);
        if let Some(network) = self.network
            && let Some(of_network) = open.by_network.get_mut(&network)
        {
            *of_network -= 1;
            if *of_network == 0 {
                open.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::IpAddr;

    use super::Connections;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_does_not_take_all_connections() {
        let connections = Connections::new(4, 2);
        let admit = |text, is_proxy| connections.admit(address(text), is_proxy);
        let one = admit("192.0.2.1", false).unwrap();
        let _two = admit("192.0.2.1", false).unwrap();
        assert!(admit("192.0.2.1", false).is_none());
        let _other = admit("192.0.2.2", false).unwrap();
        drop(one);
        let _again = admit("192.0.2.1", false).unwrap();
        let last = admit("2001:db8::1", false).unwrap();
        assert!(admit("192.0.2.3", false).is_none());
        drop(last);
        assert!(admit("192.0.2.3", false).is_some());
    }

    #[test]
    fn a_proxy_is_nobody() {
        let connections = Connections::new(4, 1);
        let _held: Vec<_> = (0..4).map(|_| connections.admit(address("127.0.0.1"), true).unwrap()).collect();
        assert!(connections.admit(address("127.0.0.1"), true).is_none());
    }
}
