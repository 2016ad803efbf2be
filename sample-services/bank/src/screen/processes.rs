//! Who runs where: the table of services with the ids of their processes.

use std::net::SocketAddr;

use nix::unistd::Pid;

use super::{
    line::{Line, fitting},
    paint::Tone,
    view::{Row, View},
};

/// From so many columns on, the sidecars' memory is shown too.
const WIDE: usize = 95;
/// With fewer columns, the application's port is left out.
const NARROW: usize = 76;

/// A heading with ever more of the rows; the last form is the whole table.
pub(super) fn forms(view: &View, width: usize) -> Vec<Vec<Line>> {
    let lines = table(view, width);
    let rows = lines.len() - 1;
    let partly = (0..rows).map(|shown| {
        let mut part: Vec<_> = lines.iter().take(shown + 1).cloned().collect();
        let left = rows - shown;
        part.push(
            Line::of(
                Tone::Dim,
                &format!("… and {left} more processes on a higher terminal"),
            )
            .cut(width),
        );
        part
    });
    let mut forms: Vec<_> = partly.collect();
    forms.push(lines);
    forms
}

/// The whole table.
pub(super) fn table(view: &View, width: usize) -> Vec<Line> {
    let columns = Columns::of(view, width);
    let mut head = columns.cells("service", "pid", "sidecar");
    head.push_str(&columns.rest("port", "own mem"));
    let control_plane = &view.control_plane;
    let mut first = columns.cells("control-plane", &pid(control_plane.pid), "");
    first.push_str(&columns.rest(&control_plane.grpc.port().to_string(), ""));
    let lacks = match (control_plane.pid, control_plane.revision) {
        (None, _) => Some("ended"),
        (_, None) => Some("it does not answer"),
        _ => None,
    };
    let link = Link {
        address: Some(control_plane.http),
        path: "/v1/status",
    };
    let mut lines = vec![
        Line::of(Tone::Title, &format!("{head}  state metrics")).cut(width),
        state(Line::plain(&first), lacks, &link, width),
    ];
    lines.extend(view.rows.iter().map(|row| process(row, columns, width)));
    lines
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    name: usize,
    has_port: bool,
    has_memory: bool,
}

impl Columns {
    fn of(view: &View, width: usize) -> Self {
        let names = view.rows.iter().map(|row| row.name.chars().count());
        let name = names.max().unwrap_or_default();
        Self {
            name: name.max("control-plane".len()),
            has_port: width >= NARROW,
            has_memory: width >= WIDE,
        }
    }

    fn cells(self, name: &str, pid: &str, sidecar: &str) -> String {
        format!("{name:<width$} {pid:>7} {sidecar:>7}", width = self.name)
    }

    fn rest(self, port: &str, memory: &str) -> String {
        let port = if self.has_port {
            format!(" {port:>5}")
        } else {
            String::new()
        };
        let memory = if self.has_memory {
            format!(" {memory:>9}")
        } else {
            String::new()
        };
        port + &memory
    }
}

/// Where more is to be seen.
struct Link {
    address: Option<SocketAddr>,
    path: &'static str,
}

fn process(row: &Row, columns: Columns, width: usize) -> Line {
    let application = pid(row.pids.and_then(|pids| pids.application));
    let sidecar = pid(row.pids.and_then(|pids| pids.sidecar));
    let port = row.port.map(|port| port.to_string()).unwrap_or_default();
    let memory = row.sidecar_bytes.map(mebibytes).unwrap_or_default();
    let mut cells = columns.cells(&row.name, &application, &sidecar);
    cells.push_str(&columns.rest(&port, &memory));
    let link = Link {
        address: row.sidecar.as_ref().map(|sidecar| sidecar.metrics),
        path: "/metrics",
    };
    state(Line::plain(&cells), row.lacks, &link, width)
}

/// Ready, and where to look as exactly as fits; or what is missing.
fn state(cells: Line, lacks: Option<&str>, link: &Link, width: usize) -> Line {
    let cells = cells.and(Tone::Plain, "  ");
    match (lacks, link.address) {
        (Some("ended"), _) => cells.and(Tone::Bad, "ended").cut(width),
        (Some(lack), _) => cells.and(Tone::Degraded, lack).cut(width),
        (None, None) => cells.and(Tone::Good, "ready").cut(width),
        (None, Some(address)) => {
            let ready = cells.and(Tone::Good, "ready");
            let path = link.path;
            let links = [
                format!(" http://{address}{path}"),
                format!(" http://{address}"),
                format!(" {address}"),
                format!(" :{}", address.port()),
            ];
            let forms = links.map(|link| ready.clone().and(Tone::Plain, &link));
            fitting(forms, width)
        }
    }
}

fn pid(pid: Option<Pid>) -> String {
    pid.map_or("-".to_owned(), |pid| pid.to_string())
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
