/*
 * Marks what is there for those who bring Headwater to a platform, as the Android module does, and not for apps.
 */
package io.headwater

/** For those who bring Headwater to a platform. May change in any release. */
@RequiresOptIn(message = "For those who bring Headwater to a platform; it may change in any release.")
@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.CLASS, AnnotationTarget.FUNCTION, AnnotationTarget.PROPERTY)
public annotation class HeadwaterPlatform
