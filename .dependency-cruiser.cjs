/** Who may import whom: the arrows of docs/architecture.md, as rules that `npm run check` holds. */

/** Folder of src → the folders it may import. A folder that is not named here may import nothing of ours. */
const arrows = {
  cli: [
    'workers',
    'activities',
    'workflows',
    'client',
    'report',
    'records',
    'backends',
    'preflight',
    'contract',
    'storage',
    'plan',
    'process',
    'spec',
  ],
  workers: [
    'activities',
    'workflows',
    'client',
    'report',
    'records',
    'backends',
    'preflight',
    'contract',
    'storage',
    'plan',
    'process',
    'spec',
  ],
  activities: ['backends', 'records', 'preflight', 'contract', 'storage', 'plan', 'process', 'spec'],
  workflows: ['contract', 'plan', 'spec'],
  report: ['client', 'records', 'contract', 'storage', 'plan', 'spec'],
  client: ['records', 'contract', 'storage', 'plan', 'spec'],
  backends: ['contract', 'storage', 'plan', 'process', 'spec'],
  records: ['contract', 'storage', 'plan', 'spec'],
  preflight: ['storage', 'process'],
  contract: ['storage', 'plan', 'spec'],
  storage: ['process', 'spec'],
  plan: ['process', 'spec'],
  process: [],
  spec: [],
};

/** These see some folders as types only: a schema edit must not change a replay, and no Node code may enter the bundle. */
const typeOnly = [
  {
    from: 'workflows|plan|contract',
    to: 'spec',
    why: 'a schema edit must not change a replay, and zod stays out of the bundle',
  },
  { from: 'contract|plan', to: 'storage|process', why: 'its code uses Node, which the workflow sandbox has not' },
];

const npm = (names) => `(^|node_modules/)(${names})`;

module.exports = {
  forbidden: [
    {
      name: 'no-circles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'nothing-imports-tests',
      severity: 'error',
      from: { path: '^(src|scripts|bin)/' },
      to: { path: '^test/' },
    },
    {
      name: 'every-folder-has-a-row-of-arrows',
      comment: 'a new folder of src needs a row in .dependency-cruiser.cjs and in docs/architecture.md',
      severity: 'error',
      from: { path: `^src/(?!(${Object.keys(arrows).join('|')})/)` },
      to: {},
    },
    ...Object.entries(arrows).map(([folder, allowed]) => ({
      name: `arrows-of-${folder}`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: { path: `^src/(?!(${[folder, ...allowed].join('|')})/)` },
    })),
    ...typeOnly.map(({ from, to, why }) => ({
      name: `type-only-${to.replace('|', '-')}-from-${from.replaceAll('|', '-')}`,
      comment: why,
      severity: 'error',
      from: { path: `^src/(${from})/` },
      to: { path: `^src/(${to})/`, dependencyTypesNot: ['type-only'] },
    })),
    {
      name: 'no-node-in-the-sandbox',
      severity: 'error',
      from: { path: '^src/(workflows|plan|contract)/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-temporal-below-contract',
      comment: 'these are testable without a server',
      severity: 'error',
      from: { path: '^src/(spec|plan|process|storage|records|backends)/' },
      to: { path: npm('@temporalio/') },
    },
    {
      name: 'workflows-see-only-the-workflow-sdk',
      severity: 'error',
      from: { path: '^src/(workflows|contract)/' },
      to: { path: npm('@temporalio/(?!workflow|common)') },
    },
    {
      name: 'no-packages-in-decisions',
      comment: 'plain data in, plain data out; a package in the bundle is a package in every replay',
      severity: 'error',
      from: { path: '^src/(workflows|plan|contract)/' },
      to: { path: '^node_modules/(?!@temporalio/)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 's3-only-in-storage',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(storage|workers|cli)/' },
      to: { path: npm('@aws-sdk/') },
    },
    {
      name: 'scripts-need-no-packages',
      comment: 'set-up starts on a machine that has only Node',
      severity: 'error',
      from: { path: '^(scripts|bin)/', pathNot: '^scripts/(bundle|lock)[.]mjs$' },
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'] },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|[.]anneal)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
  },
};
