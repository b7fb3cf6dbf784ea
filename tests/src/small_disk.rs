//! A disk that is soon full: a tmpfs of its own, for whoever may mount one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk, given back when the test ends in whatever way.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `folder`, which is made; `size` is as `mount` takes it, such as `16m`.
    ///
    /// # Errors
    /// Why this machine does not permit it.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn mount(folder: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(folder).expect("made");
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "htmengine-test"];
        let output =
            Command::new("mount").args(mount).arg(folder).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(Self { folder: folder.to_owned() });
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Takes every byte that is left.
    ///
    /// # Panics
    /// If it is so full that no file can be made.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("made");
        for block in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; block]).is_ok() {}
        }
    }

    /// Gives back what [`Self::fill`] took.
    ///
    /// # Panics
    /// If that took nothing.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Left mounted, it goes with the machine's next start.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
