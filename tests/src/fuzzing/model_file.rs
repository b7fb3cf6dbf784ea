//! A model file is hostile input: whatever its bytes, opening it ends in a model or an error, and stepping what the
//! engine would let through may stop with a panic (which the engine contains) but never reads outside the file.
//!
//! The fuzzer's bytes are edits of a real file (three for the place, one for the value, most of them aimed at the
//! header and the section table), because random bytes would not get past the parameters. The checksums are mended
//! afterwards, or nothing would get past those.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use htm_core::encoder::Record;
use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::header::{HEADER_BYTES, Header};
use htm_core::format::mapping::Region;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::ModelParams;

const GENERATION: &str = "0123456789abcdef0123456789abcdef";

struct Base {
    params: Arc<ModelParams>,
    templates: Templates,
    file: Vec<u8>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let params = Arc::new(ModelParams::single_metric(1.0).expect("valid"));
    let templates = Templates::new();
    let mut model = Model::new(Arc::clone(&params), &templates);
    let mut workspace = Workspace::new();
    for row in 1..=120 {
        let value = f64::from(row % 24 * 3 + row * row % 7);
        let record = Record { timestamp: i64::from(row) * 3600, value };
        model.step(&mut workspace, RowId(row.into()), record).expect("a good record");
    }
    let mut file = Vec::new();
    checkpoint::write(&model, GENERATION, &mut file);
    Base { params, templates, file }
});

/// Opens the edited file, however much it is trusted, and steps the model once.
///
/// # Panics
/// If opening panics.
pub fn check(data: &[u8]) {
    let base = &*BASE;
    let mut file = base.file.clone();
    for edit in data.chunks_exact(4) {
        let place = usize::from(edit[0]) << 16 | usize::from(edit[1]) << 8 | usize::from(edit[2]);
        // The top bit chooses between the whole file and its first 4 KiB, where the table and small records are.
        let limit = if edit[0] & 0x80 == 0 { 4096 } else { file.len() };
        file[place % limit] = edit[3];
    }
    // An odd byte left over cuts the file.
    if let [cut] = *data.chunks_exact(4).remainder() {
        file.truncate(HEADER_BYTES.max(file.len() / 256 * usize::from(cut)));
    }
    Header::mend(&mut file);
    for trust in [Trust::Known, Trust::Checksums, Trust::Nothing] {
        let open = || {
            let region = Region::copy_of(&file);
            let model = checkpoint::open(region, &base.params, GENERATION, &base.templates, trust).ok()?;
            Some(model)
        };
        let opened = catch_unwind(open).expect("opening ends in a model or an error");
        if let Some(mut model) = opened {
            let mut workspace = Workspace::new();
            let record = Record { timestamp: 500_000, value: 12.0 };
            let row = RowId(model.last_stepped_row_id().0.saturating_add(1));
            let _ = catch_unwind(AssertUnwindSafe(|| model.step(&mut workspace, row, record)));
        }
    }
}
