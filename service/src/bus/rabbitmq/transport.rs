//! Each message as body and properties: which of [`crate::bus::wire`]'s formats it has and whether the broker keeps it.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::publisher::Outgoing;
use crate::bus::message::{DataMessage, ModelHint, ModelOutput, ResultMessage};
use crate::bus::wire::results::{COMMAND_DATA_TYPE, DATA_TYPE_HEADER};
use crate::bus::wire::{Unreadable, data, hints, results, scores};

/// Delivery mode of messages that a broker writes to its disk.
pub(super) const PERSISTENT: u8 = 2;

/// A message that travels through the broker.
pub(super) trait Transport: Send + Sized + 'static {
    /// As bytes.
    fn outgoing(&self) -> Outgoing;

    /// From bytes; `None` for a message that is known and of no use.
    fn read(body: &[u8], properties: &BasicProperties) -> Result<Option<Self>, Unreadable>;
}

fn persistent(body: Vec<u8>) -> Outgoing {
    Outgoing { body, properties: BasicProperties::default().with_delivery_mode(PERSISTENT) }
}

impl Transport for DataMessage {
    fn outgoing(&self) -> Outgoing {
        persistent(data::to_bytes(self))
    }

    fn read(body: &[u8], _: &BasicProperties) -> Result<Option<Self>, Unreadable> {
        data::from_bytes(body).map(Some)
    }
}

impl Transport for ModelHint {
    fn outgoing(&self) -> Outgoing {
        Outgoing { body: hints::to_bytes(self), properties: BasicProperties::default() }
    }

    fn read(body: &[u8], _: &BasicProperties) -> Result<Option<Self>, Unreadable> {
        hints::from_bytes(body).map(Some)
    }
}

impl Transport for ModelOutput {
    fn outgoing(&self) -> Outgoing {
        persistent(scores::to_bytes(self))
    }

    fn read(body: &[u8], _: &BasicProperties) -> Result<Option<Self>, Unreadable> {
        scores::from_bytes(body)
    }
}

impl Transport for ResultMessage {
    fn outgoing(&self) -> Outgoing {
        let mut outgoing = persistent(results::to_bytes(self));
        if results::is_command(self) {
            let mut headers = FieldTable::default();
            headers.insert(DATA_TYPE_HEADER.into(), AMQPValue::LongString(COMMAND_DATA_TYPE.into()));
            outgoing.properties = outgoing.properties.with_headers(headers);
        }
        outgoing
    }

    fn read(body: &[u8], properties: &BasicProperties) -> Result<Option<Self>, Unreadable> {
        let header = properties.headers().as_ref().and_then(|headers| headers.inner().get(DATA_TYPE_HEADER));
        let is_command = match header {
            Some(AMQPValue::LongString(text)) => text.as_bytes() == COMMAND_DATA_TYPE.as_bytes(),
            _ => false,
        };
        results::from_bytes(body, is_command).map(Some)
    }
}
