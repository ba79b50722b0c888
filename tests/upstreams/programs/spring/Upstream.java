package upstream;

import java.io.StringReader;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootVersion;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.core.env.Environment;
import org.springframework.core.SpringVersion;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.RequestMethod;
import org.springframework.util.AntPathMatcher;
import org.springframework.web.context.request.NativeWebRequest;
import org.springframework.web.context.request.RequestAttributes;
import org.springframework.web.servlet.HandlerMapping;
import org.springframework.web.servlet.config.annotation.PathMatchConfigurer;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;
import org.springframework.web.servlet.mvc.method.RequestMappingInfo;
import org.springframework.web.servlet.mvc.method.annotation.RequestMappingHandlerMapping;
import org.springframework.web.util.pattern.PathPatternParser;

/** Spring MVC's annotated handlers, registered by hand: ROUTES, then properties of Spring Boot. */
@SpringBootApplication
public class Upstream {
  record Handler(String name, String pattern) {
    public ResponseEntity<String> handle(NativeWebRequest request) {
      var found = request.getAttribute(
          HandlerMapping.URI_TEMPLATE_VARIABLES_ATTRIBUTE, RequestAttributes.SCOPE_REQUEST);
      var params = new TreeMap<String, String>();
      if (found instanceof Map<?, ?> map) {
        map.forEach((key, value) -> params.put(key.toString(), value.toString()));
      }
      return ResponseEntity.ok()
          .header("x-handler", name)
          .header("x-pattern", encode(pattern))
          .header("x-version", "Spring " + SpringVersion.getVersion() + ", Spring Boot "
              + SpringBootVersion.getVersion())
          .header("x-params", params.entrySet().stream()
              .map(pair -> encode(pair.getKey()) + "=" + encode(pair.getValue()))
              .collect(Collectors.joining("&")))
          .body("");
    }
  }

  @Bean
  WebMvcConfigurer matching(Environment environment) {
    return new WebMvcConfigurer() {
      @Override
      public void configurePathMatch(PathMatchConfigurer configurer) {
        if (!environment.getProperty("upstream.ignore-case", Boolean.class, false)) {
          return;
        }
        if (environment.containsProperty("spring.mvc.pathmatch.matching-strategy")) {
          var matcher = new AntPathMatcher();
          matcher.setCaseSensitive(false);
          configurer.setPathMatcher(matcher);
        } else {
          var parser = new PathPatternParser();
          parser.setCaseSensitive(false);
          configurer.setPatternParser(parser);
        }
      }
    };
  }

  static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }

  public static void main(String[] args) throws Exception {
    var routes = new Properties(); // it reads \u00df as JSON has it
    routes.load(new StringReader("text=" + args[0]));
    var context = SpringApplication.run(Upstream.class, java.util.Arrays.copyOfRange(args, 1, args.length));
    var mapping = context.getBean("requestMappingHandlerMapping", RequestMappingHandlerMapping.class);
    var run = Handler.class.getMethod("handle", NativeWebRequest.class);
    var each = Pattern.compile("\"name\": \"(.*?)\", \"path\": \"(.*?)\", \"method\": \"(.*?)\"")
        .matcher(routes.getProperty("text"));
    while (each.find()) {
      var pattern = each.group(2).replaceFirst("\\*$", "**");
      var info = RequestMappingInfo.paths(pattern).options(mapping.getBuilderConfiguration());
      if (!each.group(3).isEmpty()) {
        info = info.methods(RequestMethod.valueOf(each.group(3)));
      }
      mapping.registerMapping(info.build(), new Handler(each.group(1), pattern), run);
    }
  }
}
