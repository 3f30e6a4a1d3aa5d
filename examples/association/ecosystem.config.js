// L'équipe lançait ceci avec PM2 ; `hune start ecosystem.config.js` le prend tel quel.
module.exports = {
  apps: [
    {
      name: 'benevoclic-api',
      script: 'api/server.js',
      cwd: __dirname,
      instances: 1,
      max_memory_restart: '300M',
      env: { NODE_ENV: 'production', PORT: 4870 },
    },
    { name: 'trafic', script: 'api/trafic.js', cwd: __dirname, env: { API_PORT: 4870 } },
    { name: 'boite', script: 'api/boite.js', cwd: __dirname, env: { PORT: 4871 } },
  ],
};
