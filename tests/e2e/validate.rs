//! One `usher validate` finds every mistake of every file, each at its line.

use std::path::Path;

use anyhow::{Context as _, Result};
use usher_tests::{binary, run};

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?
        } else {
            std::fs::copy(entry.path(), target).map(drop)?
        }
    }
    Ok(())
}

/// Replaces the first `from` of a file that is not in a comment, and says in which line (from 1) it was.
fn plant(folder: &Path, from: &str, to: &str) -> Result<(String, u64)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|e| e.ok())
        .map(|e| e.path())
        .collect();
    files.sort();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(&file)?;
        let hit = text
            .lines()
            .position(|line| line.contains(from) && !line.trim_start().starts_with('#'));
        let Some(hit) = hit else { continue };
        let changed: Vec<_> = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                if index == hit {
                    line.replacen(from, to, 1)
                } else {
                    line.to_owned()
                }
            })
            .collect();
        std::fs::write(&file, changed.join("\n") + "\n")?;
        let name = file
            .file_name()
            .context("file name")?
            .to_string_lossy()
            .into_owned();
        return Ok((name, u64::try_from(hit)? + 1));
    }
    anyhow::bail!("no example contains {from:?}")
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples")
}

#[test]
fn the_examples_are_valid_as_they_are() -> Result<()> {
    let output = run(&binary("usher"), [Path::new("validate"), &examples()]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    Ok(())
}

#[test]
fn the_schema_for_editors_is_printed() -> Result<()> {
    let output = run(&binary("usher"), ["schema"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let schema: serde_json::Value = serde_json::from_str(&output.stdout)?;
    let field = "/$defs/TrafficPolicy/$defs/TrafficPolicySpec/properties/breaker/description";
    assert!(schema.pointer(field).is_some(), "the breaker is described");
    Ok(())
}

#[test]
fn every_planted_mistake_is_found_in_one_pass_at_its_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy(&examples(), folder.path())?;
    let planted = [
        plant(
            folder.path(),
            "consecutiveFailures:",
            "consecutiveFailurez:",
        )?,
        plant(folder.path(), "openFor:", "openFour:")?,
        plant(folder.path(), "idempotencyHeader:", "idempotentHeader:")?,
        plant(folder.path(), "weight: ", "weight: -")?,
        plant(folder.path(), "kind: GRPCRoute", "kind: GRPCRout")?,
        plant(folder.path(), "defaultAction: ", "defaultAction: Perhaps #")?,
        plant(
            folder.path(),
            "appProtocol: tcp",
            "appProtocol: carrier-pigeon",
        )?,
        plant(folder.path(), "percent: ", "percent: 1")?,
        plant(folder.path(), "request: ", "request: 5 parsecs #")?,
    ];
    let arguments = [Path::new("validate"), folder.path(), Path::new("--json")];
    let output = run(&binary("usher"), arguments);
    assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
    let report: serde_json::Value =
        serde_json::from_str(&output.stdout).context(output.stdout.clone())?;
    let mistakes = report
        .as_array()
        .or_else(|| report["mistakes"].as_array())
        .context("a list of mistakes")?;
    for (file, line) in planted {
        let found = mistakes.iter().any(|mistake| {
            mistake["file"].as_str().is_some_and(|f| f.ends_with(&file)) && mistake["line"] == line
        });
        assert!(found, "{file}:{line} was planted and not found: {report:#}");
    }
    Ok(())
}
