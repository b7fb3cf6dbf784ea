//! A thread beside the roles, which works until it is told to stop.
//!
//! Telling and waiting are apart: whoever ends several tells all of them first, and can leave one behind that its database
//! keeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// The thread; dropping it tells it to stop and waits for its end.
#[derive(Debug)]
pub struct StoppableThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StoppableThread {
    /// Starts `work`, which looks at the flag and ends once it is raised.
    ///
    /// # Errors
    /// If the operating system has no thread for it.
    pub fn start(name: &str, work: impl FnOnce(&AtomicBool) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Tells it to stop.
    pub fn tell(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it has ended; by itself, if nobody told it to.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The thread, told to stop, for whoever waits less long than dropping this does.
    pub fn into_handle(mut self) -> Option<JoinHandle<()>> {
        self.tell();
        self.thread.take()
    }
}

impl Drop for StoppableThread {
    fn drop(&mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}
