//! One moment of the bank as lines of text. Pure: what is shown depends on the view alone.

use nix::unistd::Pid;

use super::{
    paint::Paint,
    view::{Row, View},
};

/// The whole screen, most important lines first: a small terminal shows the beginning.
pub(super) fn screen(view: &View, paint: Paint) -> Vec<String> {
    let mut lines = vec![heading(view, paint), String::new()];
    lines.extend(payments(view, paint));
    lines.extend(breakers(view, paint));
    lines.push(String::new());
    lines.extend(processes(view, paint));
    lines.push(String::new());
    lines.extend(view.events.iter().map(|event| paint.dim(event)));
    lines.push(String::new());
    lines.extend(hints(view, paint));
    lines
}

/// One line for a log.
pub(super) fn status_line(view: &View) -> String {
    let total = &view.total;
    let open: Vec<_> = view
        .breakers
        .iter()
        .filter(|(_, breaker)| !is_closed(&breaker.state))
        .collect();
    let mut line = format!(
        "{:>4} s  {:.1} payments/s  {} ok  {} declined  {} failed  p50 {} ms  p99 {} ms  rules {} %",
        view.uptime.as_secs(),
        view.rates.ok + view.rates.declined,
        total.ok + total.pending,
        total.declined,
        total.failed,
        total.p50_us / 1000,
        total.p99_us / 1000,
        share(
            view.rates.by_rules,
            view.rates.by_model + view.rates.by_rules
        ),
    );
    for (caller, breaker) in open {
        line.push_str(&format!(
            "  breaker {caller} → {} {}",
            breaker.service, breaker.state
        ));
    }
    for row in view.rows.iter().filter(|row| row.lacks.is_some()) {
        line.push_str(&format!(
            "  {}: {}",
            row.name,
            row.lacks.unwrap_or_default()
        ));
    }
    line
}

fn heading(view: &View, paint: Paint) -> String {
    let revision = view
        .control_plane
        .revision
        .map_or("unknown".to_owned(), |revision| revision.to_string());
    let kept = if view.is_temporary {
        "deleted at the end"
    } else {
        "kept"
    };
    let title = paint.title("the bank on the Usher mesh");
    let up = view.uptime.as_secs();
    format!(
        "{title}   open {up} s   configuration revision {revision}   {} ({kept})",
        view.root.display()
    )
}

fn payments(view: &View, paint: Paint) -> Vec<String> {
    let (rates, total) = (view.rates, &view.total);
    let failing = format!("{:>6.1}/s failed", rates.failed);
    let failing = if rates.failed > 0.0 {
        paint.bad(&failing)
    } else {
        failing
    };
    let assessed = rates.by_model + rates.by_rules;
    let rules = format!("fraud-rules {} %", share(rates.by_rules, assessed));
    let rules = if rates.by_rules > 0 {
        paint.degraded(&rules)
    } else {
        rules
    };
    vec![
        format!(
            "{} {:>6.1}/s ok {:>6.1}/s declined {failing}   p50 {} ms  p99 {} ms",
            paint.title("payments  "),
            rates.ok,
            rates.declined,
            total.p50_us / 1000,
            total.p99_us / 1000,
        ),
        format!(
            "           {:>8} ok {:>8} declined {:>8} failed   since the bank opened",
            total.ok + total.pending,
            total.declined,
            total.failed
        ),
        format!(
            "{} fraud-detection {} %  {rules}",
            paint.title("decided by"),
            share(rates.by_model, assessed)
        ),
    ]
}

fn breakers(view: &View, paint: Paint) -> Vec<String> {
    let line = |(caller, breaker): &(String, crate::mesh_view::Breaker)| {
        let state = match breaker.state.as_str() {
            state if is_closed(state) => paint.good(state),
            state if state.eq_ignore_ascii_case("open") => paint.bad(state),
            state => paint.degraded(state),
        };
        format!(
            "{} {caller} → {}: {state}",
            paint.title("breaker   "),
            breaker.service
        )
    };
    view.breakers.iter().map(line).collect()
}

fn processes(view: &View, paint: Paint) -> Vec<String> {
    let header = format!(
        "{:<20} {:>8} {:>6} {:>8} {:>9}  {:<28} {}",
        "service", "pid", "port", "sidecar", "own mem", "metrics", "state"
    );
    let control_plane = &view.control_plane;
    let mut lines = vec![
        paint.title(&header),
        format!(
            "{:<20} {:>8} {:>6} {:>8} {:>9}  http://{}/v1/status",
            "control-plane",
            pid(control_plane.pid),
            control_plane.grpc.port(),
            "",
            "",
            control_plane.http
        ),
    ];
    lines.extend(view.rows.iter().map(|row| process(row, paint)));
    lines
}

fn process(row: &Row, paint: Paint) -> String {
    let pids = row.pids;
    let port = row.port.map(|port| port.to_string()).unwrap_or_default();
    let memory = row.sidecar_bytes.map(mebibytes).unwrap_or_default();
    let metrics = row
        .sidecar
        .as_ref()
        .map(|sidecar| format!("http://{}/metrics", sidecar.metrics));
    let state = match row.lacks {
        None => paint.good("ready"),
        Some("ended") => paint.bad("ended"),
        Some(lack) => paint.degraded(lack),
    };
    format!(
        "{:<20} {:>8} {:>6} {:>8} {:>9}  {:<36} {state}",
        row.name,
        pid(pids.and_then(|pids| pids.application)),
        port,
        pid(pids.and_then(|pids| pids.sidecar)),
        memory,
        metrics.unwrap_or_default(),
    )
}

fn hints(view: &View, paint: Paint) -> Vec<String> {
    let row = |name: &str| view.rows.iter().find(|row| row.name == name);
    let pids = |name| row(name).and_then(|row| row.pids);
    let mut lines = vec![paint.title("try")];
    let both = pids("fraud-detection-1").and_then(|pids| pids.application.zip(pids.sidecar));
    if let Some((application, sidecar)) = both {
        let kill = format!("kill -9 {application} {sidecar}");
        lines.push(format!(
            "  {kill:<22} the fraud model's machine dies: the breaker opens, rules decide, it comes back"
        ));
    }
    if let Some(pid) = pids("notification-1").and_then(|pids| pids.application) {
        let kill = format!("kill -9 {pid}");
        lines.push(format!(
            "  {kill:<22} notification dies: no payment notices, its events arrive later"
        ));
    }
    if let Some(sidecar) = row("teller-1").and_then(|row| row.sidecar.as_ref()) {
        lines.push(format!(
            "  curl -x http://{} http://reporting.bank/v1/totals",
            sidecar.outbound
        ));
    }
    let root = view.root.display();
    lines.push(format!(
        "  edit {root}/config/traffic.yaml   and watch the revision"
    ));
    lines.push(format!(
        "  {root}/bin/usher status --data {root}/control-plane"
    ));
    lines.push("  Ctrl-C closes the bank".to_owned());
    lines
}

fn is_closed(state: &str) -> bool {
    state.eq_ignore_ascii_case("closed")
}

fn pid(pid: Option<Pid>) -> String {
    pid.map_or("-".to_owned(), |pid| pid.to_string())
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

/// In percent, rounded to whole ones; 0 of 0 is 0.
fn share(part: u64, whole: u64) -> u64 {
    (part * 100 + whole / 2)
        .checked_div(whole)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
