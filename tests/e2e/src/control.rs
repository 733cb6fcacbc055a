//! The control socket itself, as anybody in the container can speak to it.

use serde_json::Value;

use crate::container::Container;

/// Sends standard input to the control socket and prints one line of answer (nothing where the
/// connection is closed without one).
const SPEAK: &str = r#"
use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Peer => "/run/herm/control.sock") or die "connect: $!";
local $/; my $request = <STDIN>;
local $SIG{PIPE} = "IGNORE";
print $socket $request; $socket->flush;
$/ = "\n"; my $answer = <$socket>;
print $answer if defined $answer;
"#;

impl Container {
    /// What PID 1 answers `uid` to these bytes; `None` where it hangs up instead.
    #[track_caller]
    pub fn control_bytes(&self, uid: u32, request: &[u8]) -> Option<Value> {
        let user = format!("{uid}:{uid}");
        let answer = self.exec_with(&["--user", &user], &["perl", "-e", SPEAK], request);
        let line = answer.succeeds();
        (!line.is_empty()).then(|| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
        })
    }

    /// What PID 1 answers `uid` to an operation given without its envelope.
    #[track_caller]
    pub fn control(&self, uid: u32, operation: &Value) -> Value {
        let mut request = operation.clone();
        request["v"] = 1.into();
        request["id"] = 1.into();
        self.control_bytes(uid, format!("{request}\n").as_bytes())
            .unwrap_or_else(|| panic!("no answer to {request}"))
    }

    /// True while PID 1 answers.
    #[track_caller]
    pub fn answers(&self) -> bool {
        self.control(10_000, &serde_json::json!({"op": "hello"}))["ok"]["program"] == "herm"
    }
}
