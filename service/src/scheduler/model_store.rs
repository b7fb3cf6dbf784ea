//! Where model files lie, and what happens to one that cannot be used.
//!
//! A model file is a cache: whatever is wrong with it, the model can be rebuilt from its rows. So a file that is
//! damaged or foreign is put aside under a name that says so (the newest one per model is kept) and reported, and
//! the model starts from the first row.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::mapping::Region;
use htm_core::ids::ModelId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::params::ModelParams;

use crate::file_system::FileSystem;

/// Largest model file that is read: a safeguard, far above what the segment limits allow.
pub const MAX_MODEL_FILE_BYTES: usize = 4 << 30;

/// The folder of model files.
pub struct ModelStore {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
    templates: Templates,
}

impl ModelStore {
    /// Files under `folder`, in sub-folders of the first two characters of their id, so that no folder grows
    /// beyond what tools can list.
    pub fn new(files: Arc<dyn FileSystem>, folder: PathBuf) -> Self {
        Self { files, folder, templates: Templates::new() }
    }

    /// The saved model, or a new one if there is no usable file. The flag says whether it was saved.
    ///
    /// # Errors
    /// If the file system cannot be read at all.
    pub fn open(
        &self,
        id: &ModelId,
        generation: &str,
        params: &Arc<ModelParams>,
    ) -> io::Result<(Model, bool)> {
        let new = || Model::new(Arc::clone(params), &self.templates);
        let bytes = match self.files.read(&self.path(id)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((new(), false)),
            Err(error) => return Err(error),
        };
        let read = if bytes.len() > MAX_MODEL_FILE_BYTES {
            Err(format!("it is {} bytes long, at most {MAX_MODEL_FILE_BYTES} are expected", bytes.len()))
        } else {
            checkpoint::open(Region::copy_of(&bytes), params, generation, &self.templates, Trust::Checksums)
                .map_err(|error| error.to_string())
        };
        match read {
            Ok(model) => Ok((model, true)),
            Err(reason) => {
                self.put_aside(id, &reason)?;
                Ok((new(), false))
            }
        }
    }

    /// Saves a model.
    ///
    /// # Errors
    /// What the file system said; the previous file is untouched then.
    pub fn save(&self, id: &ModelId, generation: &str, model: &Model) -> io::Result<()> {
        let mut image = Vec::new();
        checkpoint::write(model, generation, &mut image);
        self.files.replace(&self.path(id), &image)
    }

    /// Removes a model's file, if there is one.
    ///
    /// # Errors
    /// What the file system said.
    pub fn remove(&self, id: &ModelId) -> io::Result<()> {
        self.files.remove(&self.path(id))
    }

    /// Renames a file that cannot be used.
    ///
    /// # Errors
    /// What the file system said.
    pub fn put_aside(&self, id: &ModelId, reason: &str) -> io::Result<()> {
        let path = self.path(id);
        let aside = path.with_extension("model.unusable");
        tracing::warn!(
            model = %id,
            file = %path.display(),
            kept_as = %aside.display(),
            "the model file cannot be used: {reason}; the model is rebuilt from its rows"
        );
        self.files.rename(&path, &aside)
    }

    fn path(&self, id: &ModelId) -> PathBuf {
        let text = id.as_str();
        let shard = text.get(..2).unwrap_or(text);
        self.folder.join(shard).join(format!("{text}.model"))
    }
}
