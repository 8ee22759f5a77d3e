//! Paths as bytes, for selects that clients send.
//!
//! A path is one value form: `[version, path]`; a path is a list of navigators, a navigator is
//! `[code u64, [argument…], [path…]]` with its codes in the rules under `nav/`. Canonical: the value codec
//! has one encoding for each value and a navigator one list. Slots and closures mean something only inside the
//! process that made them and are refused, on the way out and so by construction on the way in. A function with a
//! name travels as that name, a fourth part of its navigator; the reader must know it.

use crate::arg::Arg;
use crate::func::Functions;
use crate::limit::{ARGUMENT_DEPTH_MAX, PATH_DEPTH_MAX, PATH_NAV_COUNT_MAX, PATH_SIZE_MAX};
use crate::nav;
use crate::path::{Nav, Path};
use tantu_base::value::{DecodeError, Reader, Value, put_list_header, put_str, put_u64};

/// The version of the format.
pub(crate) const VERSION: u64 = 1;
/// Navigators of a path that is read without making a value of it first.
const FLAT_NAV_COUNT_MAX: usize = 16;

const _: () = assert!(FLAT_NAV_COUNT_MAX <= PATH_NAV_COUNT_MAX);

/// Why a path cannot be sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathEncodeError {
    /// It holds a closure.
    #[error(
        "{navigator}({closure}) holds a closure, which cannot leave its process; name the function and declare it in \
         the module"
    )]
    Closure {
        /// Which navigator.
        navigator: &'static str,
        /// The closure's type name.
        closure: &'static str,
    },
    /// It reads a variable; bind the path first.
    #[error("{navigator} reads slot {slot}, which means nothing outside its dataflow")]
    Slot {
        /// Which navigator.
        navigator: &'static str,
        /// Which slot.
        slot: u32,
    },
    /// An argument is nested so deep that the path around it is too deep.
    #[error("an argument of {navigator} is nested too deep")]
    TooDeep {
        /// Which navigator.
        navigator: &'static str,
    },
    /// More navigators, or deeper ones, than a path may have.
    #[error("the path has more than {} navigators, or is nested deeper than {}", PATH_NAV_COUNT_MAX, PATH_DEPTH_MAX)]
    TooLarge,
    /// Longer than a path may be.
    #[error("the path takes {size} bytes; the limit is {}", PATH_SIZE_MAX)]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
}

/// Why bytes are no path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathDecodeError {
    /// Longer than any path may be.
    #[error("path of {size} bytes; the limit is {}", PATH_SIZE_MAX)]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// Not one value form.
    #[error("path is not a value: {0}")]
    Value(#[from] DecodeError),
    /// Written by a release this one does not know.
    #[error("path format version {0} is unknown")]
    Version(u64),
    /// A navigator this release does not know, or that cannot be sent.
    #[error("navigator {0} is unknown")]
    Navigator(u64),
    /// A function that nobody declared here.
    #[error("{navigator}: the module has no function named {name:?}")]
    Function {
        /// Which navigator.
        navigator: &'static str,
        /// The name it asks for.
        name: String,
    },
    /// A navigator with the wrong number of arguments or sub-paths.
    #[error("{0} with a wrong number of arguments or paths")]
    Arity(&'static str),
    /// More navigators, or deeper ones, than a path may have.
    #[error("the path has more than {} navigators, or is nested deeper than {}", PATH_NAV_COUNT_MAX, PATH_DEPTH_MAX)]
    TooLarge,
    /// A value, but not a path's.
    #[error("path is malformed: {0}")]
    Shape(&'static str),
}

impl Path {
    /// Appends the encoded path.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), PathEncodeError> {
        self.check_size().map_err(|()| PathEncodeError::TooLarge)?;
        let before = out.len();
        put_list_header(out, 2);
        put_u64(out, VERSION);
        let put = put_path(self, out);
        let size = out.len() - before;
        let put = put.and(if size > PATH_SIZE_MAX { Err(PathEncodeError::TooLong { size }) } else { Ok(()) });
        if put.is_err() {
            out.truncate(before);
        }
        put
    }

    /// Reads what [`Path::encode`] wrote, and nothing else; no function is known.
    pub fn decode(bytes: &[u8]) -> Result<Path, PathDecodeError> {
        Path::decode_with(bytes, &Functions::default())
    }

    /// [`Path::decode`] where paths may name these functions.
    pub fn decode_with(bytes: &[u8], functions: &Functions) -> Result<Path, PathDecodeError> {
        if bytes.len() > PATH_SIZE_MAX {
            return Err(PathDecodeError::TooLong { size: bytes.len() });
        }
        // Nearly every path; what it cannot read the other way reads, or says why not.
        if let Some(path) = read_flat(bytes) {
            return Ok(path);
        }
        let Value::List(parts) = Value::decode(bytes)? else {
            return Err(PathDecodeError::Shape("the top is not a list"));
        };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Value::U64(VERSION)), Some(path), None) => {
                Reading { functions, count_left: PATH_NAV_COUNT_MAX }.path(path, PATH_DEPTH_MAX)
            }
            (Some(Value::U64(version)), ..) if version != VERSION => Err(PathDecodeError::Version(version)),
            _ => Err(PathDecodeError::Shape("the top is not a version and a path")),
        }
    }

    /// Whether it stays within the limits that make following it safe: a navigator costs stack.
    pub(crate) fn check_size(&self) -> Result<(), ()> {
        fn spend(path: &Path, depth_left: usize, count_left: &mut usize) -> Result<(), ()> {
            *count_left = count_left.checked_sub(path.navs.len()).ok_or(())?;
            for inner in path.navs.iter().flat_map(|nav| &nav.paths) {
                spend(inner, depth_left.checked_sub(1).ok_or(())?, count_left)?;
            }
            Ok(())
        }
        spend(self, PATH_DEPTH_MAX, &mut { PATH_NAV_COUNT_MAX })
    }
}

fn put_path(path: &Path, out: &mut Vec<u8>) -> Result<(), PathEncodeError> {
    put_list_header(out, path.navs.len());
    path.navs.iter().try_for_each(|nav| put_nav(nav, out))
}

fn put_nav(nav: &Nav, out: &mut Vec<u8>) -> Result<(), PathEncodeError> {
    let navigator = nav.rule.name;
    if let Some(func) = nav.func.as_ref().filter(|func| !func.is_named()) {
        return Err(PathEncodeError::Closure { navigator, closure: func.name() });
    }
    if let Some(custom) = &nav.custom {
        return Err(PathEncodeError::Closure { navigator, closure: custom.name() });
    }
    put_list_header(out, 3 + usize::from(nav.func.is_some()));
    put_u64(out, nav.rule.code);
    put_list_header(out, nav.args.len());
    for arg in &nav.args {
        match arg {
            Arg::Slot(slot) => return Err(PathEncodeError::Slot { navigator, slot: *slot }),
            // The argument must be readable where it will stand, below at most this many lists.
            Arg::Const(value) if depth_of(value) > ARGUMENT_DEPTH_MAX => {
                return Err(PathEncodeError::TooDeep { navigator });
            }
            Arg::Const(value) => value.encode(out),
        }
    }
    put_list_header(out, nav.paths.len());
    nav.paths.iter().try_for_each(|path| put_path(path, out))?;
    nav.func.iter().for_each(|func| put_str(out, func.name()));
    Ok(())
}

/// A path whose navigators have neither paths nor functions, read without making a value of it first.
fn read_flat(bytes: &[u8]) -> Option<Path> {
    let mut reader = Reader::new(bytes);
    if reader.list().ok()? != 2 || reader.u64().ok()? != VERSION {
        return None;
    }
    let count = reader.list().ok().filter(|count| *count <= FLAT_NAV_COUNT_MAX)?;
    let mut navs = Vec::with_capacity(count);
    for _ in 0..count {
        if reader.list().ok()? != 3 {
            return None;
        }
        let rule = nav::rule(reader.u64().ok()?).filter(|rule| !rule.func && rule.paths.0 == 0)?;
        let arg_count = reader.list().ok().filter(|count| (rule.args.0..=rule.args.1).contains(count))?;
        let mut args = Vec::new();
        for _ in 0..arg_count {
            let arg = reader.value().ok().filter(|arg| depth_of(arg) <= ARGUMENT_DEPTH_MAX)?;
            args.push(Arg::Const(arg));
        }
        if reader.list().ok()? != 0 {
            return None;
        }
        navs.push(Nav { rule, args, paths: Vec::new(), func: None, custom: None });
    }
    reader.finish().ok()?;
    Some(Path { navs })
}

fn depth_of(value: &Value) -> usize {
    let deepest = |values: &mut dyn Iterator<Item = &Value>| 1 + values.map(depth_of).max().unwrap_or(0);
    match value {
        Value::List(of) | Value::Set(of) => deepest(&mut of.iter()),
        Value::Map(of) => deepest(&mut of.iter().flat_map(|(k, v)| [k, v])),
        Value::Record(of) => deepest(&mut of.iter().map(|(_, v)| v)),
        _ => 0,
    }
}

/// A path being read.
struct Reading<'f> {
    functions: &'f Functions,
    count_left: usize,
}

impl Reading<'_> {
    fn path(&mut self, value: Value, depth_left: usize) -> Result<Path, PathDecodeError> {
        let Value::List(navs) = value else { return Err(PathDecodeError::Shape("a path is not a list")) };
        self.count_left = self.count_left.checked_sub(navs.len()).ok_or(PathDecodeError::TooLarge)?;
        let navs = navs.into_iter().map(|nav| self.nav(nav, depth_left));
        Ok(Path { navs: navs.collect::<Result<_, _>>()? })
    }

    fn nav(&mut self, value: Value, depth_left: usize) -> Result<Nav, PathDecodeError> {
        let Value::List(mut parts) = value else { return Err(PathDecodeError::Shape("a navigator is not a list")) };
        let name = if parts.len() == 4 { parts.pop() } else { None };
        let Ok([Value::U64(code), Value::List(args), Value::List(paths)]) = <[Value; 3]>::try_from(parts) else {
            return Err(PathDecodeError::Shape("a navigator is not a code, arguments and paths"));
        };
        let rule = nav::rule(code).ok_or(PathDecodeError::Navigator(code))?;
        let func = match name {
            // A navigator with a closure exists, but can only be sent with the name of a function.
            None if rule.func => return Err(PathDecodeError::Navigator(code)),
            None => None,
            Some(Value::Str(name)) if rule.func && rule.code != nav::custom::CUSTOM_NAV.code => {
                let unknown = || PathDecodeError::Function { navigator: rule.name, name: name.clone() };
                Some(self.functions.get(&name).cloned().ok_or_else(unknown)?)
            }
            Some(_) => return Err(PathDecodeError::Shape("a navigator has a fourth part that is no function's name")),
        };
        let fits = |count: usize, (min, max): (usize, usize)| (min..=max).contains(&count);
        if !fits(args.len(), rule.args) || !fits(paths.len(), rule.paths) {
            return Err(PathDecodeError::Arity(rule.name));
        }
        if args.iter().any(|arg| depth_of(arg) > ARGUMENT_DEPTH_MAX) {
            return Err(PathDecodeError::TooLarge);
        }
        let below =
            if paths.is_empty() { depth_left } else { depth_left.checked_sub(1).ok_or(PathDecodeError::TooLarge)? };
        let paths = paths.into_iter().map(|path| self.path(path, below)).collect::<Result<_, _>>()?;
        Ok(Nav { rule, args: args.into_iter().map(Arg::Const).collect(), paths, func, custom: None })
    }
}
