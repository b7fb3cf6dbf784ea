//! Promise: the bus over RabbitMQ keeps what [`htmengine::bus`] says of every bus, is declared and speaks as the original
//! did, loses nothing when the broker or a connection goes away, and lets one bad message cost only itself.
//!
//! Against a real broker of this test process ([`htm_tests::private_rabbitmq`]); [`peer::Peer`] plays the third party.

#[path = "rabbitmq_bus/contract.rs"]
mod contract;
#[path = "rabbitmq_bus/depth_verb.rs"]
mod depth_verb;
#[path = "rabbitmq_bus/http_samples.rs"]
mod http_samples;
#[path = "rabbitmq_bus/listener_stop.rs"]
mod listener_stop;
#[path = "rabbitmq_bus/outages.rs"]
mod outages;
#[path = "rabbitmq_bus/peer.rs"]
mod peer;
#[path = "rabbitmq_bus/refusals.rs"]
mod refusals;
#[path = "rabbitmq_bus/wire.rs"]
mod wire;
