package io.headrace.slimbase.file;

import java.io.IOException;
import java.io.OutputStream;
import java.util.function.BooleanSupplier;
import java.util.zip.CRC32C;

/**
 * Copies a file as it is, and checks header, blocks, filter, footer and trailer on the way: a checkpoint must not complete with bytes that nobody can
 * restore, and what was spoilt on its way from a store must not stay. Any one thread.
 */
public final class CheckedCopy {
    private final FileSource source;
    private final BooleanSupplier goesOn;
    private final CRC32C checksum = new CRC32C();
    private byte[] piece = new byte[SegmentReader.PIECE_BYTES];

    /** `goesOn` is asked for each piece; once it says no, the copy ends where it is. The source stays open. */
    public CheckedCopy(FileSource source, BooleanSupplier goesOn) {
        this.source = source;
        this.goesOn = goesOn;
    }

    /**
     * Copies all of it.
     *
     * @throws io.headrace.slimbase.engine.SlimBaseException {@code Corrupt} for whatever does not fit, with file and block; a part was written then
     */
    public void to(OutputStream out) throws IOException {
        Trailer trailer = Trailer.read(source);
        byte[] header = trailer.checkHeader(source);
        byte[] filterAndFooter = trailer.readFilterAndFooter(source);
        SegmentReader blocks = SegmentReader.over(source, Footer.parse(source.name(), trailer, filterAndFooter));
        out.write(header);
        for (int from = 0; from < blocks.blockCount() && goesOn.getAsBoolean(); ) {
            from = copyPiece(blocks, from, out);
        }
        out.write(filterAndFooter);
        out.write(trailer.stored);
    }

    /** Copies as many blocks as a piece holds; gives the one after them. */
    private int copyPiece(SegmentReader blocks, int from, OutputStream out) throws IOException {
        Footer footer = blocks.footer;
        int to = blocks.pieceEnd(from, SegmentReader.PIECE_BYTES, blocks.blockCount() - 1);
        long start = footer.blockOffsets[from];
        int bytes = (int) (footer.blockEnd(to - 1) - start);
        piece = piece.length < bytes ? new byte[bytes] : piece;
        Trailer.read(source, start, piece, bytes);
        for (int block = from; block < to; block++) {
            int at = (int) (footer.blockOffsets[block] - start);
            BlockDecoder.check(source.name(), block, piece, at, (int) (footer.blockEnd(block) - start) - at, checksum);
        }
        out.write(piece, 0, bytes);
        return to;
    }
}
