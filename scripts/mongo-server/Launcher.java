import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/** Serves the MongoDB protocol on a loopback port until standard input ends. Arguments: PORT [DIR to keep data in]. */
public class Launcher {
    /** Drivers refuse the versions that the library knows; what Stampede asks for behaves the same in 6.0. */
    record Version(List<Integer> getVersionArray, int getWireVersion) implements MongoVersion {}

    public static void main(String[] args) throws Exception {
        MongoBackend backend = args.length > 1 ? new H2Backend(args[1] + "/mongo.mv") : new MemoryBackend();
        MongoServer server = new MongoServer(backend.version(new Version(List.of(6, 0, 0, 0), 17)));
        server.bind("127.0.0.1", Integer.parseInt(args[0]));
        System.out.println("ready on port " + server.getLocalAddress().getPort());
        // The pipe closes when its owner dies, however it dies.
        while (System.in.read() != -1) {}
        server.shutdownNow();
        System.exit(0);
    }
}
