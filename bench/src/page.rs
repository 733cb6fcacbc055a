//! What is published of a run: the measured part of a page with its charts, and three ratios in the
//! README. Both are made from the results' JSON alone.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::chart;
use crate::report::{Results, Table};

/// Where a page's generated part begins; what stands above it is written by hand and kept.
const MARK: &str = "<!-- measured: written by cargo xtask bench --publish -->";

/// Where the README's generated part begins and ends.
const README_MARK: &str = "<!-- ratios: written by cargo xtask bench --publish -->";
const README_END: &str = "<!-- end of the ratios -->";

/// What matters most to a user: a table, whom herm is compared with, and the words around the ratio.
const RATIOS: [(&str, &str, &str); 3] = [
    (
        "start-1000",
        S6,
        "sooner: 1,000 logged services, until all run",
    ),
    (
        "memory-1000",
        S6,
        "less memory for supervising them and keeping their logs",
    ),
    ("crash", S6, "sooner: a service that has died runs again"),
];
const S6: &str = "s6-svscan + s6-log";

/// Where things are published.
pub(crate) struct Places {
    pub(crate) page: PathBuf,
    pub(crate) readme: PathBuf,
}

/// Writes the page's measured part, its charts into `benchmarks/` beside it, and the README's ratios.
pub(crate) fn publish(results: &Results, places: &Places) -> Result<()> {
    let charts = charts_of(&places.page);
    fs::create_dir_all(&charts)?;
    let drawn = results.tables.iter().filter(|table| table.has_chart());
    let drawn: Vec<(PathBuf, &Table)> = drawn
        .map(|table| (charts.join(format!("{}.svg", table.name)), table))
        .collect();
    for entry in fs::read_dir(&charts)? {
        let path = entry?.path();
        let is_chart = path.extension().is_some_and(|extension| extension == "svg");
        if is_chart && drawn.iter().all(|(kept, _)| *kept != path) {
            fs::remove_file(path)?;
        }
    }
    for (path, table) in drawn {
        fs::write(path, chart::draw(table))?;
    }
    write(&places.page, &page(results, &read(&places.page)?))?;
    write(&places.readme, &readme(results, &read(&places.readme)?))
}

fn charts_of(page: &Path) -> PathBuf {
    page.parent().unwrap_or(Path::new(".")).join("benchmarks")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

/// The page, with these results in the place of those it had.
fn page(results: &Results, before: &str) -> String {
    let hand = before.split(MARK).next().unwrap_or_default().trim_end();
    let machine = &results.machine;
    let mut text = format!("{hand}\n\n{MARK}\n\n## Measured\n\n");
    let _ = writeln!(
        text,
        "On {}: {} cores ({}), {} MiB of memory, kernel {}, {} samples of each contender. Peers: {}. \
         The whole run took {} minutes.\n",
        machine.date,
        machine.cores,
        machine.processor,
        machine.memory_kib / 1024,
        machine.kernel,
        results.samples,
        machine.peers.join(", "),
        results.seconds.div_ceil(60),
    );
    text.push_str("| what was asked | and whether it holds |\n| --- | --- |\n");
    for verdict in results.verdicts() {
        let whole = verdict.text();
        let (what, outcome) = whole.split_once(": ").unwrap_or((&whole, ""));
        let _ = writeln!(text, "| {what} | {outcome} |");
    }
    text.push('\n');
    for table in &results.tables {
        text.push_str(&table.to_markdown());
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// The README, with these results' ratios between its marks; as it is where it has none.
fn readme(results: &Results, before: &str) -> String {
    let Some((above, rest)) = before.split_once(README_MARK) else {
        return before.to_owned();
    };
    let Some((_, below)) = rest.split_once(README_END) else {
        return before.to_owned();
    };
    let mut lines = String::new();
    for (name, peer, words) in RATIOS {
        let ratio = results.table(name).and_then(|table| table.ratio_to(peer));
        if let Some(ratio) = ratio {
            let _ = writeln!(lines, "* **{ratio:.1} ×** {words}");
        }
    }
    if !lines.is_empty() {
        lines = format!(
            "Beside `s6-svscan` with `s6-log`, in one run on {} cores ([all numbers](docs/benchmarks.md)):\n\n{lines}",
            results.machine.cores
        );
    }
    format!("{above}{README_MARK}\n{lines}{README_END}{below}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Machine;
    use crate::sample::{Samples, Unit};
    use crate::verdict::Verdict;

    fn results() -> Results {
        let one = |value: f64| [value].into_iter().collect::<Samples>();
        let lines = [("herm".to_owned(), one(2.0)), (S6.to_owned(), one(8.0))];
        let verdict = Verdict::at_most("a crash", 2.0, 2.0, Unit::Milliseconds);
        let machine = Machine {
            kernel: "6".into(),
            cores: 2,
            processor: "p".into(),
            memory_kib: 1024,
            peers: vec![],
            date: "d".into(),
        };
        let mut results = Results::of(machine, 7);
        results
            .tables
            .push(Table::new("crash", "a question", Unit::Milliseconds, lines).asked(verdict));
        results
    }

    #[test]
    fn what_is_written_by_hand_stays_and_what_was_measured_before_goes() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            page: dir.path().join("page.md"),
            readme: dir.path().join("README.md"),
        };
        fs::create_dir(dir.path().join("benchmarks")).unwrap();
        fs::write(dir.path().join("benchmarks/gone.svg"), "").unwrap();
        fs::write(&places.page, format!("# Mine\n\n{MARK}\nstale\n")).unwrap();
        fs::write(
            &places.readme,
            format!("above\n{README_MARK}\nstale\n{README_END}\nbelow\n"),
        )
        .unwrap();
        publish(&results(), &places).unwrap();
        let page = fs::read_to_string(&places.page).unwrap();
        assert!(page.starts_with("# Mine\n") && !page.contains("stale"));
        assert!(page.contains("| a crash | asked ≤ 2.00 ms, got 2.00 ms: holds |"));
        let readme = fs::read_to_string(&places.readme).unwrap();
        assert!(readme.starts_with("above\n") && readme.ends_with("\nbelow\n"));
        assert!(readme.contains("* **4.0 ×** sooner: a service") && !readme.contains("stale"));
        assert!(dir.path().join("benchmarks/crash.svg").exists());
        assert!(!dir.path().join("benchmarks/gone.svg").exists());
    }

    #[test]
    fn the_published_pages_are_what_the_published_results_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (page_path, readme_path) = (root.join("docs/benchmarks.md"), root.join("README.md"));
        let (old_page, old_readme) = (read(&page_path).unwrap(), read(&readme_path).unwrap());
        let published = charts_of(&page_path).join("results.json");
        if !published.exists() {
            assert!(!old_page.contains(MARK), "numbers without their source");
            return;
        }
        let results = Results::read(&published).unwrap();
        let advice = "run `cargo xtask bench --redraw`";
        assert_eq!(page(&results, &old_page), old_page, "{advice}");
        assert_eq!(readme(&results, &old_readme), old_readme, "{advice}");
        for table in results.tables.iter().filter(|table| table.has_chart()) {
            let chart = charts_of(&page_path).join(format!("{}.svg", table.name));
            assert_eq!(read(&chart).unwrap(), chart::draw(table), "{advice}");
        }
    }
}
