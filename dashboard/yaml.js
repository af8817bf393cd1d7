// An entry of `streams:` as YAML, to be pasted into the configuration file.

/**
 * The lines of one stream, with its name, indented to stand below `streams:`. A password becomes a variable; `node` is what
 * the files pin the stream to, or null.
 */
export function streamYaml(id, settings, node) {
  const lines = [`  ${id}:`];
  for (const [key, value] of Object.entries(node ? { ...settings, node } : settings)) {
    if (key === 'password') {
      lines.push(`    password: \${${variable(id)}}   # set it in the environment, or use password_file`);
    } else if (key === 'renditions') {
      lines.push('    renditions:');
      for (const [name, parameters] of Object.entries(value)) lines.push(`      ${name}: { ${flow(parameters)} }`);
    } else {
      lines.push(`    ${key}: ${scalar(value)}`);
    }
  }
  return `streams:\n${lines.join('\n')}\n`;
}

const flow = (map) => Object.entries(map).map(([key, value]) => `${key}: ${scalar(value)}`).join(', ');

const variable = (id) => `${id.toUpperCase().replaceAll('-', '_')}_PASSWORD`;

/** Plain where that means the same, else a JSON string, which is a YAML one. `${` would be a variable. */
function scalar(value) {
  if (typeof value !== 'string') return String(value);
  if (/^[A-Za-z0-9][A-Za-z0-9_./-]*$/.test(value)) return value;
  return JSON.stringify(value).replaceAll('${', '$${');
}
