//! TLS on Android: rustls's verifier asks the system's own, which is in Java, and has to be given the app's context before it is asked. Promises
//! that it is set up only where its Java part can be called as it will be (it would panic otherwise), and that what is missing comes back as a
//! sentence. Knows no request. Tests call it on other systems, too, where it only looks.

#[cfg(target_os = "android")]
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use jni::{
    Env, EnvUnowned,
    errors::{Error, ThrowRuntimeExAndDefault},
    jni_sig, jni_str,
    objects::{JClass, JClassLoader, JObject, JString},
};

/// Whether requests can be made: the verifier panics when it is asked before.
#[cfg(target_os = "android")]
pub(crate) fn is_set_up() -> bool {
    SET_UP.load(SeqCst)
}

/// `io.headwater.Verifier.prepare(context)` of the Android module: null, or why no request can be made.
#[allow(unsafe_code, reason = "Java finds a native method by its name alone")]
#[unsafe(no_mangle)]
extern "system" fn Java_io_headwater_Verifier_prepare<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    context: JObject<'local>,
) -> JString<'local> {
    let prepared = env.with_env(|env| match prepare(env, &context) {
        Ok(()) => Ok(JString::null()),
        Err(error) => {
            // What was thrown ends here: it is told by what is returned.
            let wrong = match env.exception_catch() {
                Err(Error::CaughtJavaException { name, msg, .. }) => format!("{name}: {msg}"),
                _ => error.to_string(),
            };
            env.new_string(format!(
                "rustls's verifier cannot be called ({wrong}): the app needs the aar rustls-platform-verifier in the version that \
                 Headwater's README names"
            ))
        }
    });
    prepared.resolve::<ThrowRuntimeExAndDefault>()
}

fn prepare(env: &mut Env<'_>, context: &JObject<'_>) -> Result<(), Error> {
    let loader = jni_sig!(() -> JClassLoader);
    let loader = env.call_method(context, jni_str!("getClassLoader"), loader, &[])?.l()?;
    let loader = env.cast_local::<JClassLoader<'_>>(loader)?;
    // What rustls-platform-verifier 0.7 calls, and unwraps: see its `verification/android.rs`.
    let verifier = load(env, &loader, "org.rustls.platformverifier.CertificateVerifier")?;
    let verifies = jni_sig!(
        (android.content.Context, JString, JString, JString[], byte[], jlong, byte[][])
            -> org.rustls.platformverifier.VerificationResult
    );
    env.get_static_method_id(&verifier, jni_str!("verifyCertificateChain"), verifies)?;
    let verified = load(env, &loader, "org.rustls.platformverifier.VerificationResult")?;
    env.get_field_id(&verified, jni_str!("code"), jni_sig!(jint))?;
    env.get_field_id(&verified, jni_str!("message"), jni_sig!(JString))?;
    #[cfg(target_os = "android")]
    {
        let context = env.new_local_ref(context)?;
        rustls_platform_verifier::android::init_with_env(env, context)?;
        SET_UP.store(true, SeqCst);
    }
    Ok(())
}

fn load<'local>(
    env: &mut Env<'local>,
    loader: &JClassLoader<'_>,
    name: &str,
) -> Result<JClass<'local>, Error> {
    let name = env.new_string(name)?;
    loader.load_class(env, name)
}

#[cfg(target_os = "android")]
static SET_UP: AtomicBool = AtomicBool::new(false);
