/** Files below memory: packing, merging and reading segments on the local disk and in checkpoint storage. */
package io.headrace.slimbase.cold;
