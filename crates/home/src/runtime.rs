//! Files of a profile that describe a running process or a moment, and so belong into no copy.

/// Whether a path, relative to the profile, is a runtime file: herm's own directory, the agent's
/// state, pid and lock files and markers; sockets, temporary files and byte code anywhere.
pub(crate) fn is_runtime(path: &str) -> bool {
    const AT_THE_TOP: [&str; 7] = [
        ".herm",
        "auth.lock",
        "gateway-starts.log",
        "gateway.lock",
        "gateway.pid",
        "gateway_state.json",
        "processes.json",
    ];
    const ENDINGS: [&str; 4] = [".sock", ".tmp", ".pyc", ".pyo"];
    let name = path.rsplit('/').next().unwrap_or(path);
    let top = path.split('/').next().unwrap_or(path);
    AT_THE_TOP.contains(&top)
        || top.starts_with(".gateway-")
        || top.starts_with("gateway_state.json.corrupt-")
        || name == "__pycache__"
        || name.contains(".herm-tmp-")
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_files_are_known_at_the_top_and_litter_everywhere() {
        for yes in [
            ".herm",
            ".herm/desired.json",
            "gateway.pid",
            ".gateway-planned-stop.json",
            "a/b/x.sock",
            "skills/x/__pycache__",
        ] {
            assert!(is_runtime(yes), "{yes}");
        }
        for no in [
            "SOUL.md",
            "skills/gateway.pid",
            "workspace/.herm/x",
            "cron/jobs.json",
        ] {
            assert!(!is_runtime(no), "{no}");
        }
    }
}
