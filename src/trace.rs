//! `hairpin trace`.

use crate::cli::{Format, TraceArgs, TraceProtocol};
use crate::exit::{Exit, Stop};
use crate::{input, render, scenario};
use conformance::diagnostic::render as render_diagnostics;
use conformance::manifest;
use conformance::prepare::{Prepared, Refused};
use conformance::question::{self, Question, QuestionError, QuestionProtocol};
use conformance::runner::RunOptions;
use conformance::scenario::ProxyMode;
use reports::answer::{Answer, AnswerText};
use reports::names::Names;
use reports::palette::Palette;
use reports::walk::Walk;
use reports::walk::text::{Repeats, WalkText};
use std::io::Write;

pub(crate) fn run(args: &TraceArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    if args.detail && args.format == Format::Json {
        return Err(Stop::bad_input("error: --detail requires text output\nhelp: omit --format json"));
    }
    let question = Question {
        from: args.from.clone(),
        to: args.to.clone(),
        protocol: match args.protocol {
            TraceProtocol::Tcp => QuestionProtocol::Tcp,
            TraceProtocol::Udp => QuestionProtocol::Udp,
            TraceProtocol::Icmp => QuestionProtocol::Icmp,
        },
        via: args.via.clone(),
    };
    let prepared = prepared(args, &question)?;
    let mode = render::mode(args.mode.as_deref(), &prepared.cluster)?;
    let mut answer = Answer::default();
    question::courses(&prepared, &RunOptions::new(mode), |course| answer.add(course))
        .map_err(|error| scenario::stopped("the question", error))?;
    match args.format {
        Format::Text => text(args, mode, &answer, out)?,
        Format::Json => out.write_all(answer.json(mode).as_bytes())?,
    }
    Ok(Exit::AsExpected)
}

/// The scenario that asks the question; reports errors in it.
fn prepared(args: &TraceArgs, question: &Question) -> Result<Prepared, Stop> {
    let manifests = manifest::load(input::sources(&args.inputs)?);
    let style = input::diagnostic_style();
    match question::prepare(manifests, question) {
        Ok(prepared) => {
            input::warn(&render_diagnostics(&prepared.warnings, &prepared.sources, style));
            Ok(prepared)
        }
        Err(QuestionError::Refused(refused)) => {
            let Refused { diagnostics, sources } = *refused;
            Err(Stop::bad_input(render_diagnostics(&diagnostics, &sources, style)))
        }
        Err(QuestionError::Name(error)) => {
            Err(Stop::bad_input(format!("error: {error}\nhelp: {}", error.help)))
        }
    }
}

fn text(args: &TraceArgs, mode: ProxyMode, answer: &Answer, out: &mut dyn Write) -> Result<(), Stop> {
    if let Some(first) = answer.courses.first() {
        let flow = &first.flow;
        writeln!(out, "{} -> {}  {}, mode {mode}\n", flow.from, flow.to, flow.protocol.name())?;
    }
    write!(out, "{}", AnswerText::new(answer, Palette::COLOUR))?;
    if args.detail {
        for course in &answer.courses {
            let walk = Walk::fold(&course.recording.events);
            let names = Names(&course.recording.netns);
            writeln!(out, "\n{}", WalkText::new(&walk, names, Repeats::Folded, Palette::COLOUR))?;
        }
    }
    Ok(out.flush()?)
}
