//! Reading tagged objects in one pass.
//!
//! The tag that tells what an object is may stand behind what it tells of. Serde's derived readers
//! therefore keep such an object in memory as a tree before they look at it, and the code for that
//! is larger than all the rest of the protocol. Here an object's possible fields are read as they
//! come, and its tag then says which of them it must have. What is written stays as derived.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::request::{Op, Request, VerbOptions, WaitFor};
use crate::spec::{Probe, ReadinessSpec, ServiceSpec};

/// A field that the tag asks for.
fn needed<T, E: Error>(field: Option<T>, name: &'static str) -> Result<T, E> {
    field.ok_or_else(|| E::missing_field(name))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OpName {
    Hello,
    Status,
    Service,
    Subscribe,
    Start,
    Stop,
    Restart,
    Once,
    Signal,
    Wait,
    Register,
    Unregister,
    Env,
    Boot,
    Reconcile,
    AttachKeeper,
    AckOrder,
    AckReconcile,
    Wake,
    Annotate,
    Shutdown,
    Reexec,
}

/// Every field that a request may have.
#[derive(Deserialize)]
struct AnyRequest {
    v: u32,
    id: u64,
    op: OpName,
    name: Option<String>,
    #[serde(default)]
    wait: bool,
    timeout_ms: Option<u64>,
    #[serde(default)]
    reconcile: bool,
    signal: Option<String>,
    until: Option<WaitFor>,
    spec: Option<Box<ServiceSpec>>,
    seq: Option<u64>,
    error: Option<String>,
    reason: Option<String>,
    served_by: Option<String>,
    owner: Option<String>,
    port: Option<u16>,
    note: Option<String>,
    exit_code: Option<u8>,
}

impl AnyRequest {
    fn op<E: Error>(self) -> Result<Op, E> {
        let timeout_ms = self.timeout_ms;
        let options = VerbOptions {
            wait: self.wait,
            timeout_ms,
            reconcile: self.reconcile,
        };
        let name = needed(self.name, "name");
        Ok(match self.op {
            OpName::Hello => Op::Hello,
            OpName::Status => Op::Status,
            OpName::Service => Op::Service { name: name? },
            OpName::Subscribe => Op::Subscribe,
            OpName::Start => Op::Start {
                name: name?,
                options,
            },
            OpName::Stop => Op::Stop {
                name: name?,
                options,
            },
            OpName::Restart => Op::Restart {
                name: name?,
                options,
            },
            OpName::Once => Op::Once {
                name: name?,
                options,
            },
            OpName::Signal => Op::Signal {
                name: name?,
                signal: needed(self.signal, "signal")?,
            },
            OpName::Wait => Op::Wait {
                name: name?,
                until: needed(self.until, "until")?,
                timeout_ms,
            },
            OpName::Register => Op::Register {
                spec: needed(self.spec, "spec")?,
            },
            OpName::Unregister => Op::Unregister { name: name? },
            OpName::Env => Op::Env { name: name? },
            OpName::Boot => Op::Boot,
            OpName::Reconcile => Op::Reconcile { timeout_ms },
            OpName::AttachKeeper => Op::AttachKeeper,
            OpName::AckOrder => Op::AckOrder {
                name: name?,
                seq: needed(self.seq, "seq")?,
            },
            OpName::AckReconcile => Op::AckReconcile {
                seq: needed(self.seq, "seq")?,
                error: self.error,
            },
            OpName::Wake => Op::Wake {
                name: name?,
                reason: needed(self.reason, "reason")?,
            },
            OpName::Annotate => Op::Annotate {
                name: name?,
                served_by: self.served_by,
                owner: self.owner,
                port: self.port,
                note: self.note,
            },
            OpName::Shutdown => Op::Shutdown {
                exit_code: self.exit_code,
            },
            OpName::Reexec => Op::Reexec,
        })
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let any = AnyRequest::deserialize(input)?;
        let (v, id) = (any.v, any.id);
        any.op().map(|op| Self { v, id, op })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProbeType {
    Tcp,
    Http,
    Command,
}

#[derive(Deserialize)]
struct AnyProbe {
    r#type: ProbeType,
    address: Option<String>,
    url: Option<String>,
    argv: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Probe {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let any = AnyProbe::deserialize(input)?;
        Ok(match any.r#type {
            ProbeType::Tcp => Self::Tcp {
                address: needed(any.address, "address")?,
            },
            ProbeType::Http => Self::Http {
                url: needed(any.url, "url")?,
            },
            ProbeType::Command => Self::Command {
                argv: needed(any.argv, "argv")?,
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadinessType {
    None,
    Notify,
    SdNotify,
    Probe,
}

#[derive(Deserialize)]
struct AnyReadiness {
    r#type: ReadinessType,
    fd: Option<u32>,
    probe: Option<Probe>,
    interval_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for ReadinessSpec {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let any = AnyReadiness::deserialize(input)?;
        Ok(match any.r#type {
            ReadinessType::None => Self::None,
            ReadinessType::Notify => Self::Notify {
                fd: needed(any.fd, "fd")?,
            },
            ReadinessType::SdNotify => Self::SdNotify,
            ReadinessType::Probe => Self::Probe {
                probe: needed(any.probe, "probe")?,
                interval_ms: any.interval_ms,
            },
        })
    }
}
