//! What to try, and where to look: commands that can be copied as they stand.

use super::{
    line::{Line, command, fitting},
    paint::Tone,
    view::{Row, View},
};

/// Room for the longest command that has an explanation beside it: two process ids of seven digits.
const COMMAND: usize = 23;

/// From the one story everybody should see, and where to look, to all of them.
pub(super) fn forms(view: &View, width: usize) -> Vec<Vec<Line>> {
    let fraud = kill_fraud_detection(view, width);
    let look = look(view, width);
    let more = [
        kill_notification(view, width),
        edit(view, width),
        call(view, width),
    ];
    let mut tries = fraud;
    let mut forms = vec![[tries.clone(), look.clone()].concat()];
    for lines in more.into_iter().filter(|lines| !lines.is_empty()) {
        tries.extend(lines);
        forms.push([tries.clone(), look.clone()].concat());
    }
    forms
}

/// All of it.
pub(super) fn all(view: &View, width: usize) -> Vec<Line> {
    forms(view, width).pop().unwrap_or_default()
}

/// How to ask this bank's control plane, as words of a command.
pub(super) fn status_command(view: &View) -> [String; 4] {
    [
        view.root.join("bin/usher").display().to_string(),
        "status".to_owned(),
        "--server".to_owned(),
        format!("http://{}", view.control_plane.http),
    ]
}

fn row<'a>(view: &'a View, name: &str) -> Option<&'a Row> {
    view.rows.iter().find(|row| row.name == name)
}

fn kill_fraud_detection(view: &View, width: usize) -> Vec<Line> {
    let pids = row(view, "fraud-detection-1").and_then(|row| row.pids);
    let what = match pids.and_then(|pids| pids.application.zip(pids.sidecar)) {
        Some((application, sidecar)) => format!("kill -9 {application} {sidecar}"),
        // The label stays: the screen does not jump while it is away.
        None => "fraud-detection is away".to_owned(),
    };
    let why = [
        "the fraud model's machine dies: the breaker opens, rules decide, it comes back",
        "breaker opens, rules decide, it comes back",
        "breaker opens, rules decide",
        "rules decide meanwhile",
        "rules decide",
    ];
    vec![explained("try", &what, &why, width)]
}

fn kill_notification(view: &View, width: usize) -> Vec<Line> {
    let pids = row(view, "notification-1").and_then(|row| row.pids);
    let Some(pid) = pids.and_then(|pids| pids.application) else {
        return vec![];
    };
    let why = [
        "notification dies: no payment notices, its events arrive later",
        "no payment notices, events arrive later",
        "its events arrive later",
        "events come later",
    ];
    vec![explained("", &format!("kill -9 {pid}"), &why, width)]
}

fn edit(view: &View, width: usize) -> Vec<Line> {
    let file = view.root.join("config/traffic.yaml");
    let why = [
        "good: a new revision; bad: explained, and nothing breaks",
        "and watch the revision",
        "",
    ];
    vec![explained(
        "",
        &format!("edit {}", file.display()),
        &why,
        width,
    )]
}

fn call(view: &View, width: usize) -> Vec<Line> {
    let Some(sidecar) = row(view, "teller-1").and_then(|row| row.sidecar.as_ref()) else {
        return vec![];
    };
    let proxy = format!("http://{}", sidecar.outbound);
    let words = ["curl", "-x", &proxy, "http://reporting.bank/v1/totals"];
    command("", &words, width)
}

fn look(view: &View, width: usize) -> Vec<Line> {
    let words = status_command(view);
    command("look", &words.each_ref().map(String::as_str), width)
}

fn explained(label: &str, command: &str, why: &[&str], width: usize) -> Line {
    let padded = format!("{command:<COMMAND$}");
    let forms = why.iter().map(|why| {
        let line = Line::labelled(label);
        if why.is_empty() {
            line.and(Tone::Plain, command)
        } else {
            line.and(Tone::Plain, &padded)
                .and(Tone::Dim, &format!("  {why}"))
        }
    });
    // A command is never given up for its explanation.
    let bare = Line::labelled(label).and(Tone::Plain, command);
    fitting(forms.chain([bare]), width)
}
