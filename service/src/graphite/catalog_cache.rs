//! The catalog of the current second.
//!
//! Reading all metrics takes the database tens of milliseconds where there are ten thousand, and a dashboard asks for many
//! charts at once: the requests of one second share one catalog. So a new metric can be asked for a second later at the
//! latest, and one catalog is all that is ever held.

use std::sync::{Arc, Mutex, PoisonError};

use super::catalog::Catalog;
use crate::operations::{OperationError, Operations};

/// Holds the catalog that was read last.
#[derive(Debug, Default)]
pub(crate) struct CatalogCache {
    held: Mutex<Option<(i64, Arc<Catalog>)>>,
}

impl CatalogCache {
    /// The catalog, read anew if it is not of this second. Requests that come meanwhile wait for it.
    ///
    /// # Errors
    /// From the database.
    pub(crate) fn current(&self, operations: &Operations) -> Result<Arc<Catalog>, OperationError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = operations.now();
        if let Some((read_at, catalog)) = &*held
            && *read_at == now
        {
            return Ok(Arc::clone(catalog));
        }
        let catalog = Arc::new(Catalog::read(operations)?);
        *held = Some((now, Arc::clone(&catalog)));
        Ok(catalog)
    }
}
