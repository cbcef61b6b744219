/**
 * The way into the native library: its entries and its loading. Everything works without it, only slower.
 */
package io.headrace.slimbase.nativelib;
