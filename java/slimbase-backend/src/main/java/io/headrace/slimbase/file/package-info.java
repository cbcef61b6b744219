/**
 * Files of sealed records: sorting, writing, reading. The layout stands in docs/concepts/slimbase-format.md, section File.
 *
 * <p>Steps of writing: {@link io.headrace.slimbase.file.KeyGroupSort} puts the records of one key group in order and keeps the newest version of
 * each key; {@link io.headrace.slimbase.file.FileBuilder} packs entries into checksummed blocks and ends with the footer. Reading trusts nothing:
 * whatever does not fit is {@code Corrupt}, with the file, the block and the checksums. Nothing here knows Flink's back-end interfaces.
 */
package io.headrace.slimbase.file;
