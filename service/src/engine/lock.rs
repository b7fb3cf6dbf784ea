//! One of each role per data folder: files that a running process holds locked.
//!
//! The scheduler's is [`LOCK_FILE`]: who holds it may write model files, and answers requests. A lock is let go by the
//! operating system, even if its process is killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::EngineError;
use super::role::Role;

/// The file that a running scheduler, alone or in a whole engine, holds locked.
pub const LOCK_FILE: &str = "engine.lock";
/// In a data folder, says that a restore into it is not complete.
pub const RESTORE_MARKER: &str = "restore.unfinished";
/// Whoever looks whether a role runs holds its lock for a moment: that is waited out.
const ATTEMPTS: u32 = 10;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(20);

impl Role {
    /// Its file in a data folder.
    pub fn lock_file(self) -> &'static str {
        match self {
            Self::Listener => "listener.lock",
            Self::Storer => "storer.lock",
            Self::Scheduler => LOCK_FILE,
            Self::Anomaly => "anomaly.lock",
            Self::Results => "results.lock",
            Self::Http => "http.lock",
        }
    }

    /// Whether somebody plays it over this data folder.
    ///
    /// # Errors
    /// If its lock file can be neither opened nor found missing.
    pub fn is_running(self, data_dir: &Path) -> io::Result<bool> {
        let file = match File::open(data_dir.join(self.lock_file())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // A shared lock, given back at once.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Locks `roles` over a data folder, which is made if missing.
///
/// # Errors
/// [`EngineError`] says which role runs already, or that a restore was cut off.
pub(crate) fn lock(data_dir: &Path, roles: &[Role]) -> Result<Vec<File>, EngineError> {
    let shown = data_dir.display();
    fs::create_dir_all(data_dir)
        .map_err(|error| EngineError::new(&format!("making the data folder {shown}"), &error))?;
    let locks = roles.iter().map(|role| lock_role(data_dir, *role)).collect::<Result<_, _>>()?;
    if data_dir.join(RESTORE_MARKER).exists() {
        return Err(EngineError { reason: cut_off_restore(data_dir) });
    }
    Ok(locks)
}

/// What to do about a marker that is still there.
pub(crate) fn cut_off_restore(data_dir: &Path) -> String {
    format!(
        "a restore into {} was cut off: remove what lies in it, and the model files if they lie elsewhere, and run \
         `htmengine restore` again",
        data_dir.display()
    )
}

fn lock_role(data_dir: &Path, role: Role) -> Result<File, EngineError> {
    let path = data_dir.join(role.lock_file());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| EngineError::new(&format!("opening {}", path.display()), &error))?;
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(ATTEMPT_PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(EngineError::new(&format!("locking {}", path.display()), &error));
            }
        }
    }
    let other = if role == Role::Scheduler { "engine" } else { role.name() };
    Err(EngineError {
        reason: format!(
            "another {other} uses the data folder {}; stop it, or give this one another `--data-dir`",
            data_dir.display()
        ),
    })
}
