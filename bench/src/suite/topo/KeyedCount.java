// The keyed count on Apache Flink: keys that a source makes, an exchange by the key, a count per key in its state.
//
// Arguments: heap|rocksdb KEYS PARALLELISM WARM_UP_S MEASURED_S DIRECTORY. Checkpoints are taken exactly-once every second.
// What it counted and used in the measured stretch is printed as one line of name=value.

import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

public final class KeyedCount {
    /** Every subtask is in this process; one counts in its own place, apart from the others' cache lines. */
    private static final int STRIDE = 16;
    private static final AtomicLongArray COUNTED = new AtomicLongArray(64 * STRIDE);
    private static final AtomicLong CHECKPOINT = new AtomicLong();

    private static String[] keys;

    private static long mixed(long number) {
        long mixed = (number + 1) * 0x9E3779B97F4A7C15L;
        mixed = (mixed ^ (mixed >>> 30)) * 0xBF58476D1CE4E5B9L;
        mixed = (mixed ^ (mixed >>> 27)) * 0x94D049BB133111EBL;
        return mixed ^ (mixed >>> 31);
    }

    private static final class Count extends KeyedProcessFunction<String, String, Long> implements CheckpointListener {
        private static final long serialVersionUID = 1L;
        private transient ValueState<Long> count;
        private transient int place;
        private transient long counted;

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
            place = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask() * STRIDE;
        }

        @Override
        public void processElement(String key, Context context, Collector<Long> out) throws Exception {
            Long before = count.value();
            count.update(before == null ? 1L : before + 1);
            counted++;
            if ((counted & 255) == 0) {
                COUNTED.lazySet(place, counted);
            }
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            CHECKPOINT.set(checkpoint);
        }
    }

    private static long counted() {
        long sum = 0;
        for (int place = 0; place < COUNTED.length(); place += STRIDE) {
            sum += COUNTED.get(place);
        }
        return sum;
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
    }

    public static void main(String[] arguments) throws Exception {
        boolean rocksdb = arguments[0].equals("rocksdb");
        int keyCount = Integer.parseInt(arguments[1]);
        int parallelism = Integer.parseInt(arguments[2]);
        long warmUpMs = (long) (Double.parseDouble(arguments[3]) * 1e3);
        long measuredMs = (long) (Double.parseDouble(arguments[4]) * 1e3);
        Path directory = Path.of(arguments[5]).toAbsolutePath();

        keys = new String[keyCount];
        for (int key = 0; key < keyCount; key++) {
            keys[key] = String.format("key%08d", key);
        }
        Configuration configuration = new Configuration();
        configuration.set(StateBackendOptions.STATE_BACKEND, rocksdb ? "rocksdb" : "hashmap");
        configuration.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, directory.resolve("checkpoints").toUri().toString());
        configuration.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, rocksdb);
        configuration.setString("taskmanager.memory.managed.size", "1g");
        configuration.setString("io.tmp.dirs", directory.resolve("tmp").toString());
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(parallelism, configuration);
        environment.getConfig().enableObjectReuse();
        environment.enableCheckpointing(1_000, CheckpointingMode.EXACTLY_ONCE);
        environment
                .fromSequence(0, Long.MAX_VALUE - 1)
                .map(number -> keys[(int) Long.remainderUnsigned(mixed(number), keys.length)])
                .returns(Types.STRING)
                .keyBy(key -> key, Types.STRING)
                .process(new Count())
                .returns(Types.LONG)
                .sinkTo(new DiscardingSink<>());
        JobClient job = environment.executeAsync("keyed count");

        // It has started when something is counted, and it is warm when enough time has passed since.
        long deadline = System.nanoTime() + Duration.ofMinutes(1).toNanos();
        while (counted() == 0 && System.nanoTime() < deadline) {
            Thread.sleep(10);
        }
        Thread.sleep(warmUpMs);
        long records = counted();
        long cpu = cpuNanos();
        long wall = System.nanoTime();
        long checkpoint = CHECKPOINT.get();
        Thread.sleep(measuredMs);
        records = counted() - records;
        cpu = cpuNanos() - cpu;
        wall = System.nanoTime() - wall;
        checkpoint = CHECKPOINT.get() - checkpoint;
        System.out.printf(
                java.util.Locale.ROOT,
                "records=%d cpu_s=%.6f wall_s=%.6f checkpoints=%d%n",
                records,
                cpu / 1e9,
                wall / 1e9,
                checkpoint);
        System.out.flush();
        job.cancel().get();
        System.exit(0);
    }

    private KeyedCount() {}
}
