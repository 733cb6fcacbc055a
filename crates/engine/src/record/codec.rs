//! Values as bytes: little endian, no padding, lengths before contents, enums by a tag, a version
//! before everything.
//!
//! Writing and reading are generated from one list per type ([`record_struct`], [`record_enum`]),
//! so that they can't disagree.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::BadRecord;
use crate::model::{ProbeId, RunId};
use crate::time::{Time, nanos};

/// What a value is written to.
pub type Bytes = Vec<u8>;

/// What is left to read.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadRecord::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A type that records are made of.
pub trait Field: Sized {
    /// Appends the value.
    fn put(&self, bytes: &mut Bytes);

    /// Takes a value off the beginning of what is left.
    ///
    /// # Errors
    /// If what is left doesn't begin with one.
    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord>;
}

/// A value as bytes, after the version of its layout.
pub fn to_bytes(version: u8, value: &impl Field) -> Bytes {
    let mut bytes = alloc::vec![version];
    value.put(&mut bytes);
    bytes
}

/// Reads a value back.
///
/// # Errors
/// If the bytes are not exactly one value in this version of its layout.
pub fn from_bytes<T: Field>(version: u8, bytes: &[u8]) -> Result<T, BadRecord> {
    let mut reader = Reader(bytes);
    let found = u8::get(&mut reader)?;
    if found != version {
        return Err(BadRecord::Version(found));
    }
    let value = T::get(&mut reader)?;
    if reader.0.is_empty() {
        Ok(value)
    } else {
        Err(BadRecord::TooLong)
    }
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

integer_fields!(u8, u16, u32, u64, i32);

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
        put_slice(self.as_bytes(), bytes);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        core::str::from_utf8(get_slice(reader)?)
            .map(Self::from)
            .map_err(|_| BadRecord::NotText)
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        T::put(self, bytes);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        T::get(reader).map(Self::new)
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

impl<T: Field> Field for Vec<T> {
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
            values.push(T::get(reader)?);
        }
        Ok(values)
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
        Vec::get(reader).map(Self::from)
    }
}

/// Appends bytes of any length.
pub fn put_slice(slice: &[u8], bytes: &mut Bytes) {
    put_len(slice.len(), bytes);
    bytes.extend_from_slice(slice);
}

/// Takes the bytes that [`put_slice`] appended.
///
/// # Errors
/// If fewer are left than they say.
pub fn get_slice<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], BadRecord> {
    let len = get_len(reader)?;
    reader.take(len)
}

fn put_len(len: usize, bytes: &mut Vec<u8>) {
    u32::try_from(len).unwrap_or(u32::MAX).put(bytes);
}

fn get_len(reader: &mut Reader<'_>) -> Result<usize, BadRecord> {
    u32::get(reader).map(|len| usize::try_from(len).unwrap_or(usize::MAX))
}

/// Implements [`Field`](crate::codec::Field) for a struct, from the list of its fields.
#[macro_export]
macro_rules! record_struct {
    ($($type:ty { $($field:ident),* $(,)? })*) => {$(
        impl $crate::codec::Field for $type {
            fn put(&self, bytes: &mut $crate::codec::Bytes) {
                $($crate::codec::Field::put(&self.$field, bytes);)*
            }
            fn get(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::BadRecord> {
                Ok(Self { $($field: $crate::codec::Field::get(reader)?),* })
            }
        }
    )*};
}

/// Implements [`Field`](crate::codec::Field) for an enum, from the list of its variants with their tags. Tags are for
/// ever: a variant that is dropped leaves its own unused.
#[macro_export]
macro_rules! record_enum {
    ($($type:ident {
        $($tag:literal => $variant:ident $({ $($field:ident),* })? $(( $($place:ident),* ))?),*
        $(,)?
    })*) => {$(
        impl $crate::codec::Field for $type {
            fn put(&self, bytes: &mut $crate::codec::Bytes) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($place),* ))? => {
                        bytes.push($tag);
                        $($($crate::codec::Field::put($field, bytes);)*)?
                        $($($crate::codec::Field::put($place, bytes);)*)?
                    })*
                }
            }
            fn get(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::BadRecord> {
                match <u8 as $crate::codec::Field>::get(reader)? {
                    $($tag => {
                        $($(let $field = $crate::codec::Field::get(reader)?;)*)?
                        $($(let $place = $crate::codec::Field::get(reader)?;)*)?
                        Ok(Self::$variant $({ $($field),* })? $(( $($place),* ))?)
                    })*
                    tag => Err($crate::BadRecord::Tag { what: stringify!($type), tag }),
                }
            }
        }
    )*};
}
