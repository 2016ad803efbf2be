//! nginx: forwards HTTP/1.1 over kept connections, and nothing else.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Setting, Side, Step};

pub(super) fn command(binary: &Path, setting: &Setting<'_>, step: &Step) -> Result<Command> {
    let folder = setting.folder.join(step.side.name());
    std::fs::create_dir_all(&folder)?;
    for name in ["cert.pem", "key.pem", "root.pem"] {
        std::fs::copy(setting.folder.join(name), folder.join(name))?;
    }
    std::fs::write(folder.join("nginx.conf"), configuration(step))?;
    let mut command = Command::new(binary);
    command.arg("-p").arg(&folder);
    command.args(["-e", "stderr", "-c", "nginx.conf"]);
    Ok(command)
}

const TLS: &str = "
      ssl_certificate cert.pem;
      ssl_certificate_key key.pem;
      ssl_client_certificate root.pem;
      ssl_verify_client on;
      ssl_protocols TLSv1.3;
      ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;";

const TLS_UPSTREAM: &str = "
        proxy_ssl_certificate cert.pem;
        proxy_ssl_certificate_key key.pem;
        proxy_ssl_trusted_certificate root.pem;
        proxy_ssl_verify on;
        proxy_ssl_name peer;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;";

fn configuration(step: &Step) -> String {
    let Step { side, listen, next } = step;
    let (ssl, tls) = match side {
        Side::Inbound => (" ssl", TLS),
        Side::Outbound | Side::Hop => ("", ""),
    };
    let (scheme, tls_upstream) = match side {
        Side::Outbound => ("https", TLS_UPSTREAM),
        Side::Inbound | Side::Hop => ("http", ""),
    };
    // Its temporary folders are only made, nothing is written there: bodies are small.
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path temporary-{kind};\n"))
        .concat();
    format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 10000; }}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
{temporary}  upstream next {{
    server {next};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
      listen {listen}{ssl};{tls}
      location / {{
        proxy_pass {scheme}://next;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host $host;{tls_upstream}
      }}
  }}
}}
"
    )
}
