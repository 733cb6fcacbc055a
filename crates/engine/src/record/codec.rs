//! Bytes of records: little endian, no padding, lengths before contents, enums by a tag.
//!
//! Writing and reading are generated from one list per type, so that they can't disagree.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::BadRecord;
use crate::model::{ProbeId, RunId};
use crate::time::{Time, nanos};

/// What is left to read.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadRecord::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A type that records are made of.
pub(crate) trait Field: Sized {
    fn put(&self, bytes: &mut Vec<u8>);
    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord>;
}

macro_rules! integer_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
                let taken = reader.take(size_of::<Self>())?;
                taken.try_into().map(Self::from_le_bytes).map_err(|_| BadRecord::Truncated)
            }
        }
    )*};
}

integer_fields!(u8, u32, u64, i32);

macro_rules! number_fields {
    ($($type:ty: $into:expr, $from:expr;)*) => {$(
        impl Field for $type {
            fn put(&self, bytes: &mut Vec<u8>) {
                let into: fn(&Self) -> u64 = $into;
                into(self).put(bytes);
            }
            fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
                let from: fn(u64) -> Self = $from;
                u64::get(reader).map(from)
            }
        }
    )*};
}

number_fields! {
    Time: |time| time.as_nanos(), Time::from_nanos;
    Duration: |span| nanos(*span), Duration::from_nanos;
    RunId: |run| run.0, RunId;
    ProbeId: |probe| probe.0, ProbeId;
}

impl Field for bool {
    fn put(&self, bytes: &mut Vec<u8>) {
        u8::from(*self).put(bytes);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        match u8::get(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(BadRecord::Tag { what: "bool", tag }),
        }
    }
}

impl Field for String {
    fn put(&self, bytes: &mut Vec<u8>) {
        put_len(self.len(), bytes);
        bytes.extend_from_slice(self.as_bytes());
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        let len = get_len(reader)?;
        let taken = reader.take(len)?;
        core::str::from_utf8(taken)
            .map(Self::from)
            .map_err(|_| BadRecord::NotText)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.is_some().put(bytes);
        if let Some(value) = self {
            value.put(bytes);
        }
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        if bool::get(reader)? {
            T::get(reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<T: Field, U: Field> Field for (T, U) {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.0.put(bytes);
        self.1.put(bytes);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        Ok((T::get(reader)?, U::get(reader)?))
    }
}

impl<T: Field> Field for VecDeque<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        put_len(self.len(), bytes);
        for value in self {
            value.put(bytes);
        }
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        let len = get_len(reader)?;
        // Nothing is reserved on the word of a length: it may be damaged.
        let mut values = Self::new();
        for _ in 0..len {
            values.push_back(T::get(reader)?);
        }
        Ok(values)
    }
}

fn put_len(len: usize, bytes: &mut Vec<u8>) {
    u32::try_from(len).unwrap_or(u32::MAX).put(bytes);
}

fn get_len(reader: &mut Reader<'_>) -> Result<usize, BadRecord> {
    u32::get(reader).map(|len| usize::try_from(len).unwrap_or(usize::MAX))
}

/// Implements [`Field`] for a struct, from the list of its fields.
macro_rules! record_struct {
    ($($type:ty { $($field:ident),* $(,)? })*) => {$(
        impl $crate::record::codec::Field for $type {
            fn put(&self, bytes: &mut alloc::vec::Vec<u8>) {
                $($crate::record::codec::Field::put(&self.$field, bytes);)*
            }
            fn get(
                reader: &mut $crate::record::codec::Reader<'_>,
            ) -> Result<Self, $crate::record::BadRecord> {
                Ok(Self { $($field: $crate::record::codec::Field::get(reader)?),* })
            }
        }
    )*};
}

/// Implements [`Field`] for an enum, from the list of its variants with their tags. Tags are for
/// ever: a variant that is dropped leaves its own unused.
macro_rules! record_enum {
    ($($type:ident {
        $($tag:literal => $variant:ident $({ $($field:ident),* })? $(( $($place:ident),* ))?),*
        $(,)?
    })*) => {$(
        impl $crate::record::codec::Field for $type {
            fn put(&self, bytes: &mut alloc::vec::Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($place),* ))? => {
                        bytes.push($tag);
                        $($($crate::record::codec::Field::put($field, bytes);)*)?
                        $($($crate::record::codec::Field::put($place, bytes);)*)?
                    })*
                }
            }
            fn get(
                reader: &mut $crate::record::codec::Reader<'_>,
            ) -> Result<Self, $crate::record::BadRecord> {
                match <u8 as $crate::record::codec::Field>::get(reader)? {
                    $($tag => {
                        $($(let $field = $crate::record::codec::Field::get(reader)?;)*)?
                        $($(let $place = $crate::record::codec::Field::get(reader)?;)*)?
                        Ok(Self::$variant $({ $($field),* })? $(( $($place),* ))?)
                    })*
                    tag => Err($crate::record::BadRecord::Tag { what: stringify!($type), tag }),
                }
            }
        }
    )*};
}

pub(crate) use {record_enum, record_struct};
