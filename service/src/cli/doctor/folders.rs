//! What `htmengine doctor` sees of the folders: whether they can be written, and how much room there is.

use std::fs;
use std::io;
use std::path::Path;

use super::Report;
use crate::config::Settings;
use crate::machine::{self, DiskSpace};

/// Free disk space below which the operator is told.
const LITTLE_DISK_BYTES: u64 = 1 << 30;

impl Report {
    pub(super) fn look_at_folders(&mut self, settings: &Settings) {
        let (data_dir, models_dir) = (settings.data_dir(), settings.models_dir());
        self.add("data folder", data_dir.display().to_string());
        if let Some(space) = self.look_at_disk(&data_dir) {
            self.add("disk MiB", space.total >> 20);
            self.add("disk free MiB", space.available >> 20);
        }
        if !models_dir.starts_with(&data_dir) && !data_dir.starts_with(&models_dir) {
            self.look_at_disk(&models_dir);
        }
        self.look_at_folder("data", &data_dir);
        self.look_at_folder("model", &models_dir);
    }

    fn look_at_disk(&mut self, folder: &Path) -> Option<DiskSpace> {
        let shown = folder.display();
        let space = match machine::disk_space(folder) {
            Ok(space) => space,
            Err(error) => {
                self.problem("folder", format!("the disk of {shown} cannot be looked at: {error}"));
                return None;
            }
        };
        if space.available < LITTLE_DISK_BYTES {
            self.warn(
                "folder",
                format!(
                    "the disk of {shown} has {} MiB left: free some space; a full disk loses nothing, but no sample is \
                     stored while it is full",
                    space.available >> 20
                ),
            );
        }
        Some(space)
    }

    fn look_at_folder(&mut self, what: &str, folder: &Path) {
        let shown = folder.display();
        match try_writing(folder) {
            Ok(true) => self.good("folder", format!("the {what} folder {shown} can be written")),
            Ok(false) => {
                self.good("folder", format!("the {what} folder {shown} is not there yet and can be made"));
            }
            Err((place, error)) => self.problem(
                "folder",
                format!(
                    "the {what} folder {shown} cannot be used: {} {}",
                    place.display(),
                    why_unwritable(&error)
                ),
            ),
        }
    }
}

/// Makes a file without a name in the folder, or in the nearest one above it; whether the folder itself is there.
fn try_writing(folder: &Path) -> Result<bool, (&Path, io::Error)> {
    for place in folder.ancestors() {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        match fs::metadata(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Some part of the path is no folder; which one, an ancestor tells.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Err((place, error)),
            Ok(found) if !found.is_dir() => {
                return Err((place, io::Error::from(io::ErrorKind::NotADirectory)));
            }
            Ok(_) => {
                let written = tempfile::tempfile_in(place);
                return written.map(|_| place == folder).map_err(|error| (place, error));
            }
        }
    }
    Err((folder, io::Error::from(io::ErrorKind::NotFound)))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the operating system has many ways to fail")]
fn why_unwritable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "lies on a read-only file system: mount it writable, or name another folder (data_dir, models_dir, or \
             storage.root in the old configuration)"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "may not be written by this user: run this as the engine's user, or give that user the folder".to_owned()
        }
        io::ErrorKind::NotADirectory => {
            "is a file where a folder is needed: move it away, or name another folder".to_owned()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "has no room left: free some space".to_owned()
        }
        _ => format!("cannot be written: {error}; check the disk and the kernel's log"),
    }
}
