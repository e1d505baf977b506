// Sends what it is told with com.segment.analytics.kotlin:core, unmodified, on a plain JVM: arguments HOST:PORT and write key;
// one call a line, in JSON, on standard input. Promises to hand over every call, and ends when its input has ended twice: it
// flushes at the first empty line. The client cannot speak plain HTTP, so its request factory, a setting of it, leaves the `s` out.

import com.segment.analytics.kotlin.core.RequestFactory;
import com.segment.analytics.kotlin.core.compat.ConfigurationBuilder;
import com.segment.analytics.kotlin.core.compat.JavaAnalytics;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.nio.charset.StandardCharsets;
import kotlinx.serialization.json.Json;
import kotlinx.serialization.json.JsonElementKt;
import kotlinx.serialization.json.JsonObject;

class SegmentClient {
    public static void main(String[] arguments) throws Exception {
        String host = arguments[0] + "/v1";
        var settings = new ConfigurationBuilder(arguments[1]).setApplication("shop")
            .setApiHost(host).setCdnHost(host).setFlushAt(20).setFlushInterval(1)
            .setRequestFactory(new RequestFactory() {
                @Override
                public HttpURLConnection openConnection(String url) {
                    return super.openConnection(url.replaceFirst("^https:", "http:"));
                }
            });
        var analytics = new JavaAnalytics(settings.build());
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            if (line.isEmpty()) {
                analytics.flush();
                continue;
            }
            var call = (JsonObject) Json.Default.parseToJsonElement(line);
            var details = (JsonObject) call.get("details");
            String name = JsonElementKt.getJsonPrimitive(call.get("name")).getContent();
            switch (JsonElementKt.getJsonPrimitive(call.get("call")).getContent()) {
                case "track" -> analytics.track(name, details);
                case "identify" -> {
                    analytics.identify(name, details);
                    // It remembers who that is in its own time; calls made before would be another's.
                    while (!name.equals(analytics.userId())) Thread.sleep(1);
                }
                case "screen" -> analytics.screen(name, details, "Shop");
                case "group" -> analytics.group(name, details);
                case "alias" -> analytics.alias(name);
                default -> throw new IllegalArgumentException(line);
            }
        }
        // Its threads go on for ever.
        System.exit(0);
    }
}
