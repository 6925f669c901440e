//! Flows on stdout, in the form that was asked for.

use std::io::{self, Write as _};

use flowtap_api::wire::FlowDocument;

use super::table::Table;
use super::{Output, csv};
use crate::output;

/// Prints flows as they are handed over, between a beginning and an end.
pub(super) struct Printer {
    form: Form,
    printed: bool,
}

enum Form {
    Table(Table),
    Json,
    JsonLines,
    Csv,
}

impl Printer {
    /// One whose table is wide enough for `flows`.
    pub(super) fn new(output: Output, color: bool, flows: &[FlowDocument]) -> Self {
        let form = match output {
            Output::Table => Form::Table(Table::new(flows, color)),
            Output::Json => Form::Json,
            Output::Jsonl => Form::JsonLines,
            Output::Csv => Form::Csv,
        };
        Self { form, printed: false }
    }

    pub(super) fn begin(&self) -> io::Result<()> {
        let mut out = output::stdout();
        match &self.form {
            Form::Table(table) => table.header(&mut out)?,
            Form::Json => out.write_all(b"[")?,
            Form::JsonLines => {}
            Form::Csv => csv::header(&mut out)?,
        }
        out.flush()
    }

    /// Prints and flushes, so that a reader of a pipe has them at once.
    pub(super) fn flows(&mut self, flows: &[FlowDocument]) -> io::Result<()> {
        let mut out = output::stdout();
        for flow in flows {
            match &self.form {
                Form::Table(table) => table.row(flow, &mut out)?,
                Form::Json => {
                    out.write_all(if self.printed { b",\n" } else { b"\n" })?;
                    serde_json::to_writer(&mut out, flow)?;
                }
                Form::JsonLines => {
                    serde_json::to_writer(&mut out, flow)?;
                    out.write_all(b"\n")?;
                }
                Form::Csv => csv::row(&serde_json::to_value(flow)?, &mut out)?,
            }
            self.printed = true;
        }
        out.flush()
    }

    pub(super) fn end(&self) -> io::Result<()> {
        match self.form {
            Form::Json => output::line(format_args!("{}]", if self.printed { "\n" } else { "" })),
            Form::Table(_) | Form::JsonLines | Form::Csv => Ok(()),
        }
    }
}
