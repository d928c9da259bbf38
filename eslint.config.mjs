/** Lint rules: strict typed TypeScript, and the walls that keep decisions pure and the environment in one place. */
import { builtinModules } from 'node:module';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const nodeBuiltins = ['node:*', ...builtinModules, ...builtinModules.map((name) => `${name}/*`)];

/** Globals that exist in Node, but not in Temporal's workflow sandbox, or that would break a replay there. */
const nodeGlobals = ['process', 'Buffer', 'require', 'module', '__dirname', '__filename', 'fetch', 'performance'];

const processRule = (property) => ({
  selector: `MemberExpression[object.name='process'][property.name='${property}']`,
  message: `process.${property} belongs to src/workers and src/cli: pass the value in as a parameter.`,
});

export default defineConfig(
  { ignores: ['dist/', '.anneal/', '.venv/', 'test-results/', 'trainer/', 'docs/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      // Numbers and booleans read well in a message; objects and undefined do not.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `for (;;)` and `while (true)` are how a workflow says "until a decision ends it".
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: 'always' }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Export by name: a default export has a new name at each import.',
        },
        { selector: 'TSEnumDeclaration', message: 'Use a union of strings: it survives JSON and needs no import.' },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/workers/**', 'src/cli/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Export by name: a default export has a new name at each import.',
        },
        { selector: 'TSEnumDeclaration', message: 'Use a union of strings: it survives JSON and needs no import.' },
        processRule('env'),
        processRule('exit'),
        {
          selector:
            'ImportDeclaration[source.value=/^(node:)?process$/] > ImportSpecifier[imported.name=/^(env|exit)$/]',
          message: 'The environment and the exit belong to src/workers and src/cli.',
        },
      ],
    },
  },
  {
    files: ['src/workflows/**/*.ts', 'src/plan/**/*.ts', 'src/contract/**/*.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [{ group: nodeBuiltins, message: 'This code runs in the workflow sandbox: no Node builtin.' }],
          paths: [
            {
              name: '@temporalio/workflow',
              importNames: ['proxyLocalActivities', 'scheduleLocalActivity'],
              message: 'Beside other work a slow one cannot be replayed: docs/decisions/0009-no-local-activities.md.',
            },
          ],
        },
      ],
      'no-restricted-globals': [
        'error',
        ...nodeGlobals.map((name) => ({ name, message: 'This code runs in the workflow sandbox: no Node global.' })),
      ],
    },
  },
  {
    files: ['src/cli/**/*.ts', 'test/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // A test may say `!`: a wrong guess fails it, which is its purpose.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'off',
    },
  },
  {
    files: ['vitest.config.ts', 'test/histories/record.config.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    files: ['**/*.{mjs,cjs,js}'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        performance: 'readonly',
        module: 'writable',
        require: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
        Buffer: 'readonly',
        URL: 'readonly',
        fetch: 'readonly',
      },
    },
  },
);
