//! A setting that may change while threads use it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Clones share the value. Whoever uses it takes it anew each time; a value that was set is another [`Arc`].
pub struct LiveSetting<T> {
    value: Arc<RwLock<Arc<T>>>,
}

impl<T> LiveSetting<T> {
    /// With this value to begin with.
    pub fn new(value: T) -> Self {
        Self { value: Arc::new(RwLock::new(Arc::new(value))) }
    }

    /// The value now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it for everybody.
    pub fn set(&self, value: T) {
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> Clone for LiveSetting<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value) }
    }
}

impl<T: PartialEq> PartialEq for LiveSetting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for LiveSetting<T> {}

impl<T: Default> Default for LiveSetting<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for LiveSetting<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}
