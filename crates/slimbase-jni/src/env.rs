//! The few functions of the JVM's table that we call, by their index in the JNI specification (chapter 4, "Interface
//! Function Table"). No crate: seven functions of an ABI that has not changed since 1997.

use std::ffi::{c_void, CString};

/// A reference to a Java object.
pub type Object = *mut c_void;

const FIND_CLASS: usize = 6;
const THROW: usize = 13;
const EXCEPTION_CLEAR: usize = 17;
const NEW_OBJECT_A: usize = 30;
const GET_METHOD_ID: usize = 33;
const NEW_STRING_UTF: usize = 167;
const GET_ARRAY_LENGTH: usize = 171;
const GET_BYTE_ARRAY_REGION: usize = 200;
const EXCEPTION_CHECK: usize = 228;
const TABLE_LENGTH: usize = 234;

/// The JVM as seen from one native call. Lives no longer than the call.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Env(*mut *const [*const c_void; TABLE_LENGTH]);

/// `jvalue`: as large as its largest member.
#[repr(C)]
#[derive(Clone, Copy)]
union Value {
    object: Object,
    long: i64,
}

impl Env {
    fn entry(self, index: usize) -> *const c_void {
        // SAFETY: an `Env` comes from the JVM as an argument of a native call and is used within it.
        unsafe { (**self.0)[index] }
    }

    /// The bytes of a `byte[]`; `None` for null or when an exception is on its way.
    pub fn bytes(self, array: Object) -> Option<Vec<u8>> {
        if array.is_null() {
            return None;
        }
        type Length = unsafe extern "system" fn(Env, Object) -> i32;
        type Region = unsafe extern "system" fn(Env, Object, i32, i32, *mut u8);
        // SAFETY: the table's entries have these signatures (specification); `array` is a byte array, as the Java
        // declaration of the native method says; the buffer has the array's length.
        unsafe {
            let length = std::mem::transmute::<*const c_void, Length>(self.entry(GET_ARRAY_LENGTH))(self, array);
            let mut bytes = vec![0u8; usize::try_from(length).ok()?];
            let region = std::mem::transmute::<*const c_void, Region>(self.entry(GET_BYTE_ARRAY_REGION));
            region(self, array, 0, length, bytes.as_mut_ptr());
            (!self.has_exception()).then_some(bytes)
        }
    }

    fn has_exception(self) -> bool {
        type Check = unsafe extern "system" fn(Env) -> u8;
        // SAFETY: signature as in the specification.
        unsafe { std::mem::transmute::<*const c_void, Check>(self.entry(EXCEPTION_CHECK))(self) != 0 }
    }

    /// Throws `SlimBaseException(kind, message)`, or whatever went wrong while making it.
    pub fn throw(self, kind: &str, message: &str) {
        type FindClass = unsafe extern "system" fn(Env, *const i8) -> Object;
        type Method = unsafe extern "system" fn(Env, Object, *const i8, *const i8) -> *mut c_void;
        type NewObject = unsafe extern "system" fn(Env, Object, *mut c_void, *const Value) -> Object;
        type NewString = unsafe extern "system" fn(Env, *const i8) -> Object;
        type Throw = unsafe extern "system" fn(Env, Object) -> i32;
        type Clear = unsafe extern "system" fn(Env);
        // SAFETY: signatures as in the specification; strings end with 0; references are used within the call; each
        // step is left when the one before has thrown (the JVM then throws that instead).
        unsafe {
            std::mem::transmute::<*const c_void, Clear>(self.entry(EXCEPTION_CLEAR))(self);
            let find = std::mem::transmute::<*const c_void, FindClass>(self.entry(FIND_CLASS));
            let class = find(self, c"io/headrace/slimbase/engine/SlimBaseException".as_ptr());
            if class.is_null() {
                return;
            }
            let method = std::mem::transmute::<*const c_void, Method>(self.entry(GET_METHOD_ID));
            let signature = c"(Ljava/lang/String;Ljava/lang/String;)V";
            let constructor = method(self, class, c"<init>".as_ptr(), signature.as_ptr());
            let string = std::mem::transmute::<*const c_void, NewString>(self.entry(NEW_STRING_UTF));
            let (kind, message) = (modified_utf8(kind), modified_utf8(message));
            if constructor.is_null() {
                return;
            }
            let arguments = [string(self, kind.as_ptr()), string(self, message.as_ptr())];
            if arguments.iter().any(|argument| argument.is_null()) {
                return;
            }
            let values = arguments.map(|object| Value { object });
            let create = std::mem::transmute::<*const c_void, NewObject>(self.entry(NEW_OBJECT_A));
            let exception = create(self, class, constructor, values.as_ptr());
            if !exception.is_null() {
                std::mem::transmute::<*const c_void, Throw>(self.entry(THROW))(self, exception);
            }
        }
    }
}

/// Java's form of UTF-8 for texts: no 0, and nothing outside the basic plane (replaced: messages only).
fn modified_utf8(text: &str) -> CString {
    let plain: String = text.chars().map(|c| if c == '\0' || u32::from(c) > 0xFFFF { '\u{FFFD}' } else { c }).collect();
    CString::new(plain).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts with zeros or rare characters become texts that Java takes.
    #[test]
    fn texts_are_made_safe() {
        assert_eq!(modified_utf8("a\0b\u{1F600}é").to_str().unwrap(), "a\u{FFFD}b\u{FFFD}é");
    }
}
