//! A repository or bus together with the runtime that its client needs, for verbs that are no engine.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::bus::Bus;
use crate::repository::Repository;

/// A repository that is open for as long as this lives.
pub struct OpenRepository {
    // In this order, so that the client goes before its runtime.
    pub(super) repository: Arc<dyn Repository>,
    pub(super) runtime: Arc<Runtime>,
}

impl OpenRepository {
    /// To share it. The runtime must outlive the clone: keep `self`.
    pub fn shared(&self) -> Arc<dyn Repository> {
        Arc::clone(&self.repository)
    }

    /// The runtime its client runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Deref for OpenRepository {
    type Target = dyn Repository;

    fn deref(&self) -> &Self::Target {
        &*self.repository
    }
}

/// A bus that is connected for as long as this lives.
pub struct OpenBus {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) runtime: Arc<Runtime>,
}

impl OpenBus {
    /// To share it. The runtime must outlive the clone: keep `self`.
    pub fn shared(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.bus)
    }

    /// The runtime its client runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Deref for OpenBus {
    type Target = dyn Bus;

    fn deref(&self) -> &Self::Target {
        &*self.bus
    }
}

impl fmt::Debug for OpenRepository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpenRepository").finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpenBus").finish_non_exhaustive()
    }
}
