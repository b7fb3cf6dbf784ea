//! `htmengine inspect`: what a model file holds.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use htm_core::format::element;
use htm_core::format::header::{FORMAT_VERSION, Header};
use htm_core::format::mapping::Region;
use htm_core::format::section::{ElementKind, Section};
use htm_core::params::ModelParams;
use serde_json::json;

use super::CliError;
use super::output::write_table;

/// The section that describes the parameters.
const PARAMETERS_SECTION: u32 = 1;

/// Show what a model file holds, section by section
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A model file, for example from the folder `models` of the data folder
    file: PathBuf,
    /// Instead print the elements of one section (a name or a number from the table), one a line
    #[arg(long, value_name = "SECTION")]
    section: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let shown = args.file.display();
    let refused = |reason: String| CliError::new(format!("{shown} cannot be inspected: {reason}"));
    let file = File::open(&args.file).map_err(|error| refused(error.to_string()))?;
    let region = Region::map(&file).map_err(|error| refused(error.to_string()))?;
    let header = Header::of(region.bytes()).map_err(|error| refused(error.to_string()))?;
    let mut out = io::stdout().lock();
    match &args.section {
        Some(wanted) => {
            let is_wanted =
                |section: &&Section| section.kind.name == wanted || section.kind.id.to_string() == *wanted;
            let section = header.sections.iter().find(is_wanted).ok_or_else(|| {
                let names: Vec<&str> = header.sections.iter().map(|section| section.kind.name).collect();
                refused(format!("it has no section '{wanted}'; its sections are {}", names.join(", ")))
            })?;
            write_elements(&mut out, section, region.bytes(), args.json)
        }
        None if args.json => write_json(&mut out, &header, region.bytes()),
        None => write_overview(&mut out, &header, region.bytes()),
    }
}

fn write_elements(
    out: &mut dyn Write,
    section: &Section,
    file: &[u8],
    is_json: bool,
) -> Result<(), CliError> {
    let used = &file[section.range.start..section.range.start + section.used_bytes];
    let is_text = section.elements == ElementKind::Text;
    let size = if is_text { section.used_bytes.max(1) } else { section.elements.size_bytes() as usize };
    let texts = used.chunks_exact(size).map(|bytes| element::text(section.elements, bytes));
    if is_json {
        serde_json::to_writer(&mut *out, &texts.collect::<Vec<_>>())?;
        writeln!(out)?;
        return Ok(());
    }
    for text in texts {
        writeln!(out, "{text}")?;
    }
    Ok(())
}

fn write_overview(out: &mut dyn Write, header: &Header, file: &[u8]) -> Result<(), CliError> {
    writeln!(out, "format version    {FORMAT_VERSION}")?;
    writeln!(out, "generation        {}", header.generation)?;
    writeln!(out, "last stepped row  {}", header.last_stepped_row_id)?;
    writeln!(out, "size              {} bytes", file.len())?;
    if let Some(params) = params_of(header, file) {
        writeln!(out, "temporal memory   {}", params.memory().implementation())?;
        match params.classifier() {
            Some(classifier) => writeln!(out, "classifier        steps {:?}", classifier.steps)?,
            None => writeln!(out, "classifier        none")?,
        }
    }
    writeln!(out)?;
    let headings = ["ID", "SECTION", "ELEMENTS", "OF", "OFFSET", "USED", "ROOM", "CHECKSUM"];
    let rows: Vec<Vec<String>> = header.sections.iter().map(|section| table_row(section, file)).collect();
    write_table(out, &headings, &rows)?;
    Ok(())
}

/// The parameters of the model inside, if this program knows them.
fn params_of(header: &Header, file: &[u8]) -> Option<ModelParams> {
    let section = header.section(PARAMETERS_SECTION)?;
    let text = std::str::from_utf8(&file[section.range.clone()]).ok()?;
    ModelParams::from_description(text)
}

fn table_row(section: &Section, file: &[u8]) -> Vec<String> {
    vec![
        section.kind.id.to_string(),
        section.kind.name.to_owned(),
        section.used().to_string(),
        element_name(section.elements),
        section.range.start.to_string(),
        section.used_bytes.to_string(),
        section.range.len().to_string(),
        if section.is_intact(file) { "right" } else { "WRONG: damaged" }.to_owned(),
    ]
}

fn element_name(elements: ElementKind) -> String {
    match elements {
        ElementKind::Text => "text".to_owned(),
        ElementKind::Record(size) => format!("record of {size} bytes"),
        ElementKind::Unsigned(size) => format!("u{}", size * 8),
        ElementKind::Float(size) => format!("f{}", size * 8),
    }
}

fn write_json(out: &mut dyn Write, header: &Header, file: &[u8]) -> Result<(), CliError> {
    let section_json = |section: &Section| {
        json!({
            "id": section.kind.id,
            "name": section.kind.name,
            "elements": section.used(),
            "element": element_name(section.elements),
            "offset": section.range.start,
            "used_bytes": section.used_bytes,
            "room_bytes": section.range.len(),
            "is_intact": section.is_intact(file),
        })
    };
    let params = params_of(header, file);
    let memory = params.as_ref().map(|params| params.memory().implementation());
    let steps = params.as_ref().and_then(|params| params.classifier()).map(|classifier| &classifier.steps);
    let all = json!({
        "temporal_memory": memory,
        "classifier_steps": steps,
        "format_version": FORMAT_VERSION,
        "generation": header.generation,
        "last_stepped_row": header.last_stepped_row_id.0,
        "size_bytes": file.len(),
        "sections": header.sections.iter().map(section_json).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &all)?;
    writeln!(out)?;
    Ok(())
}
