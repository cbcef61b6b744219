package io.headrace.connectors.redis;

import io.headrace.connectors.common.Bytes;
import io.headrace.connectors.common.Entry;
import io.headrace.connectors.common.JsonEncoder;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.connector.base.sink.writer.ElementConverter;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.RowKind;

/**
 * A row as a call of one of three scripts: put a hash, put a string, delete.
 *
 * <p>Arguments of all: the version column's name (empty for none), the row's version, the time to live in ms (0 for none). Versions are compared as
 * decimal digits, by length and then by text, because a Lua number holds only 53 bits.
 */
final class RowCommands implements ElementConverter<RowData, Entry> {

    private static final long serialVersionUID = 1L;

    private static final String NEWER =
            "local function newer(v) return v and (#v > #ARGV[2] or (#v == #ARGV[2] and v > ARGV[2])) end\n";
    private static final String STORED_IN_HASH = "redis.call('HGET', KEYS[1], ARGV[1])";
    private static final String STORED_IN_STRING =
            "string.match(redis.call('GET', KEYS[1]) or '', '\"' .. ARGV[1]:gsub('%W', '%%%0') .. '\":(%d+)')";
    private static final String EXPIRE =
            "if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end\nreturn 1";
    /** Further arguments: number of fields to set, then name and value of each, then names of fields to remove. */
    private static final String PUT_HASH =
            NEWER
                    + "if ARGV[1] ~= '' and newer("
                    + STORED_IN_HASH
                    + ") then return 0 end\n"
                    + "local last = 4 + 2 * tonumber(ARGV[4])\n"
                    + "if last > 4 then redis.call('HSET', KEYS[1], unpack(ARGV, 5, last)) end\n"
                    + "if #ARGV > last then redis.call('HDEL', KEYS[1], unpack(ARGV, last + 1)) end\n"
                    + EXPIRE;
    /** Further argument: the value. */
    private static final String PUT_STRING =
            NEWER
                    + "if ARGV[1] ~= '' and newer("
                    + STORED_IN_STRING
                    + ") then return 0 end\n"
                    + "redis.call('SET', KEYS[1], ARGV[4])\n"
                    + EXPIRE;
    private static final String DELETE_HASH =
            NEWER + "if ARGV[1] ~= '' and newer(" + STORED_IN_HASH + ") then return 0 end\nreturn redis.call('DEL', KEYS[1])";
    private static final String DELETE_STRING =
            NEWER + "if ARGV[1] ~= '' and newer(" + STORED_IN_STRING + ") then return 0 end\nreturn redis.call('DEL', KEYS[1])";

    private static final byte[] EVALSHA = utf8("EVALSHA");
    private static final byte[] ONE_KEY = utf8("1");
    private static final byte[] NO_VERSION = utf8("0");

    private final KeyTemplate key;
    private final boolean hash;
    private final byte[][] names;
    private final boolean[] text;
    private final JsonEncoder encoder;
    private final int versionIndex;
    private final byte[] versionName;
    private final byte[] ttl;
    private final byte[] putSha;
    private final byte[] deleteSha;
    private transient Bytes buffer;

    /**
     * The commands for rows of this type.
     *
     * @param version name of the version column, empty for none
     * @param ttlMs 0 for none
     * @throws ValidationException a column that is named does not exist or cannot be used so
     */
    RowCommands(RowType type, String template, RedisTableFactory.Mode mode, String version, long ttlMs) {
        this.key = KeyTemplate.parse(template, type);
        this.hash = mode == RedisTableFactory.Mode.HASH;
        this.encoder = new JsonEncoder(type, JsonEncoder.Dialect.STRICT);
        this.names = type.getFieldNames().stream().map(RowCommands::utf8).toArray(byte[][]::new);
        this.text = new boolean[names.length];
        for (int i = 0; i < names.length; i++) {
            text[i] = isQuoted(type.getTypeAt(i));
        }
        this.versionIndex = version.isEmpty() ? -1 : versionIndex(type, version);
        this.versionName = utf8(version);
        this.ttl = utf8(Long.toString(ttlMs));
        this.putSha = sha1(hash ? PUT_HASH : PUT_STRING);
        this.deleteSha = sha1(hash ? DELETE_HASH : DELETE_STRING);
    }

    /** The scripts that have to be loaded. */
    List<byte[]> scripts() {
        return hash ? List.of(utf8(PUT_HASH), utf8(DELETE_HASH)) : List.of(utf8(PUT_STRING), utf8(DELETE_STRING));
    }

    @Override
    public Entry apply(RowData row, SinkWriter.Context context) {
        if (buffer == null) {
            buffer = new Bytes(512);
        }
        boolean delete = row.getRowKind() == RowKind.DELETE;
        List<byte[]> parts = new ArrayList<>(8 + 2 * names.length);
        parts.add(EVALSHA);
        parts.add(delete ? deleteSha : putSha);
        parts.add(ONE_KEY);
        parts.add(utf8(key.render(row)));
        // A row without a version is compared with nothing: it is the only news there is.
        boolean versioned = versionIndex >= 0 && !row.isNullAt(versionIndex);
        parts.add(versioned ? versionName : new byte[0]);
        parts.add(versioned ? field(row, versionIndex) : NO_VERSION);
        parts.add(ttl);
        if (!delete && hash) {
            addFields(row, parts);
        } else if (!delete) {
            buffer.clear();
            encoder.encode(row, buffer);
            parts.add(buffer.toBytes());
        }
        return new Entry(parts.toArray(new byte[0][]));
    }

    private void addFields(RowData row, List<byte[]> parts) {
        int countAt = parts.size();
        int count = 0;
        parts.add(NO_VERSION);
        for (int i = 0; i < names.length; i++) {
            if (!row.isNullAt(i)) {
                parts.add(names[i]);
                parts.add(field(row, i));
                count++;
            }
        }
        parts.set(countAt, utf8(Integer.toString(count)));
        for (int i = 0; i < names.length; i++) {
            if (row.isNullAt(i)) {
                parts.add(names[i]);
            }
        }
    }

    /** The column as text: strings as they are, all else as JSON writes it, without quotes. */
    private byte[] field(RowData row, int column) {
        LogicalTypeRoot root = key.types().get(column).getTypeRoot();
        if (root == LogicalTypeRoot.CHAR || root == LogicalTypeRoot.VARCHAR) {
            return row.getString(column).toBytes();
        }
        if (root == LogicalTypeRoot.BINARY || root == LogicalTypeRoot.VARBINARY) {
            return row.getBinary(column);
        }
        buffer.clear();
        encoder.encodeField(row, column, buffer);
        byte[] json = buffer.toBytes();
        return text[column] ? Arrays.copyOfRange(json, 1, json.length - 1) : json;
    }

    private static boolean isQuoted(LogicalType type) {
        switch (type.getTypeRoot()) {
            case DATE:
            case TIME_WITHOUT_TIME_ZONE:
            case TIMESTAMP_WITHOUT_TIME_ZONE:
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE:
                return true;
            default:
                return false;
        }
    }

    private static int versionIndex(RowType type, String version) {
        int index = type.getFieldIndex(version);
        LogicalTypeRoot root = index < 0 ? null : type.getTypeAt(index).getTypeRoot();
        if (root != LogicalTypeRoot.BIGINT && root != LogicalTypeRoot.INTEGER) {
            throw new ValidationException(
                    "bad option, version-column=`"
                            + version
                            + "`\nhint: it has to name a BIGINT or INT column, one of "
                            + type.getFieldNames());
        }
        return index;
    }

    private static byte[] sha1(String script) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-1").digest(utf8(script));
            return utf8(String.format("%040x", new BigInteger(1, digest)));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-1", impossible);
        }
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
