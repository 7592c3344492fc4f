<#
.SYNOPSIS
Install sep for this user, without administrator rights. Never run on a real Windows machine so far.
.DESCRIPTION
A small environment with the command `sep`, then what `sep setup` makes, then a first separation of
the example. Run again to repair or upgrade.
  powershell -ExecutionPolicy Bypass -File installers\install.ps1 [-From DIR-OR-WHEEL] [-NoSetup] [-Uninstall]
The same by environment variables: SEP_FROM, SEP_NO_SETUP=1, SEP_UNINSTALL=1.
#>
param(
    [string]$From = $env:SEP_FROM,
    [switch]$NoSetup,
    [switch]$Uninstall
)

$Mark = '.made-by-sep' # a file in every folder that may be deleted again
$Made = '@rem made by sep install.ps1'

function Say([string]$Text) { Write-Host "sep: $Text" }

function Get-DataFolder {
    $Data = if ($env:SEP_HOME) { $env:SEP_HOME } else { Join-Path $env:LOCALAPPDATA 'sep' }
    if (-not [IO.Path]::IsPathRooted($Data)) { throw "SEP_HOME is not an absolute path: $Data" }
    return $Data
}

function Test-Ours([string]$Folder) { Test-Path -LiteralPath (Join-Path $Folder $Mark) -PathType Leaf }

# The mark goes last: half of a folder is ours, too.
function Remove-Ours([string]$Folder) {
    if (-not (Test-Ours $Folder)) { return }
    Get-ChildItem -Force -LiteralPath $Folder | Where-Object { $_.Name -ne $Mark } | Remove-Item -Recurse -Force
    Remove-Item -Recurse -Force -LiteralPath $Folder
}

function Test-OurCommand([string]$Command) {
    (Test-Path -LiteralPath $Command -PathType Leaf) -and
        (Get-Content -LiteralPath $Command -TotalCount 1) -eq $Made
}

# A folder goes only where nothing is in it.
function Remove-Empty([string]$Folder) {
    if ((Test-Path -LiteralPath $Folder) -and -not (Get-ChildItem -Force -LiteralPath $Folder)) {
        Remove-Item -Force -LiteralPath $Folder
    }
}

# Run a program; its failure is ours.
function Invoke-Checked([string]$Program, [string[]]$Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with code $LASTEXITCODE" }
}

# The launcher of python.org knows all Pythons; the store's stub answers with an error.
function Find-Python {
    $Check = 'import sys; sys.exit(sys.version_info < (3, 11))'
    foreach ($Candidate in @(@('py', '-3'), @('python'), @('python3'))) {
        $Program = Get-Command $Candidate[0] -ErrorAction SilentlyContinue
        if (-not $Program) { continue }
        $Rest = @($Candidate | Select-Object -Skip 1)
        & $Program.Source @Rest -I -c $Check 2>$null
        if ($LASTEXITCODE -eq 0) { return , @(@($Program.Source) + $Rest) }
    }
    throw 'Python 3.11 or newer was not found: winget install Python.Python.3.13'
}

function Install-Launcher([string]$Data, [string]$Source) {
    $Python = Find-Python
    $Folder = Join-Path $Data 'launcher'
    $Bin = Join-Path $Data 'bin'
    $Command = Join-Path $Bin 'sep.cmd'
    Remove-Empty $Folder
    if ((Test-Path -LiteralPath $Folder) -and -not (Test-Ours $Folder)) {
        throw "$Folder was not made by this installer: move it away, or choose another SEP_HOME"
    }
    if ((Test-Path -LiteralPath $Command) -and -not (Test-OurCommand $Command)) {
        throw "there is another $Command, which is left as it is: choose another SEP_HOME"
    }
    Say "installing the command from $Source"
    Remove-Ours $Folder
    New-Item -ItemType Directory -Force -Path $Folder, $Bin | Out-Null
    New-Item -ItemType File -Path (Join-Path $Folder $Mark) | Out-Null
    $Own = Join-Path $Folder 'Scripts\python.exe'
    $Rest = @($Python | Select-Object -Skip 1)
    # Isolated, and not in the current folder: no module or setting there is for us.
    Push-Location -LiteralPath $Folder
    try {
        Invoke-Checked $Python[0] ($Rest + @('-I', '-m', 'venv', $Folder))
        Invoke-Checked $Own @('-I', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-cache-dir', "${Source}[ui]")
    } finally { Pop-Location }
    # Named from where it lies: a batch file takes signs and letters in a path for others.
    $Line = '@"%~dp0..\launcher\Scripts\python.exe" -I -m sep_launcher %*'
    Set-Content -Encoding Ascii -LiteralPath $Command -Value @($Made, $Line)
    return $Own
}

function Add-ToPath([string]$Folder) {
    $Path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (($Path -split ';') -contains $Folder) { return }
    [Environment]::SetEnvironmentVariable('Path', "$Path;$Folder".TrimStart(';'), 'User')
    Say "$Folder is on your PATH from the next window on"
}

function Remove-FromPath([string]$Folder) {
    $Path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (-not $Path) { return }
    $Kept = ($Path -split ';') | Where-Object { $_ -and $_ -ne $Folder }
    [Environment]::SetEnvironmentVariable('Path', ($Kept -join ';'), 'User')
}

function Uninstall-Sep([string]$Data) {
    $Folder = Join-Path $Data 'launcher'
    $Bin = Join-Path $Data 'bin'
    $Own = Join-Path $Folder 'Scripts\python.exe'
    if ((Test-Ours $Folder) -and (Test-Path -LiteralPath $Own)) {
        Invoke-Checked $Own @('-I', '-m', 'sep_launcher', 'setup', '--remove', '--yes')
    }
    $Command = Join-Path $Bin 'sep.cmd'
    if (Test-OurCommand $Command) {
        Remove-Item -Force -LiteralPath $Command
        Remove-FromPath $Bin
    }
    Remove-Ours $Folder
    foreach ($Each in @($Bin, (Join-Path $Data 'models'), $Data)) { Remove-Empty $Each }
    if (Test-Path -LiteralPath $Data) { Say "kept: $Data (models that you fetched, and what is not sep's)" }
    Say 'removed'
}

function Main {
    $ErrorActionPreference = 'Stop'
    $Data = Get-DataFolder
    if ($Uninstall -or $env:SEP_UNINSTALL) { Uninstall-Sep $Data; return }
    # Read from a pipe it has no folder, and the current one is anybody's.
    $Root = if ($PSScriptRoot) { Split-Path $PSScriptRoot } else { '' }
    $Source = if ($From) { $From } else { $Root }
    if (-not $Source) { throw "-From must name sep's folder or wheel" }
    if (-not (Test-Path -LiteralPath $Source)) { throw "there is no $Source" }
    $Source = (Resolve-Path -LiteralPath $Source).ProviderPath
    $Own = Install-Launcher $Data $Source
    if (-not ($NoSetup -or $env:SEP_NO_SETUP)) {
        Invoke-Checked $Own @('-I', '-m', 'sep_launcher', 'setup', '--yes')
        $Example = if ($Root) { Join-Path $Root 'examples\groove.flac' } else { '' }
        if (-not $Example -or -not (Test-Path -LiteralPath $Example)) {
            $Example = & $Own -I -c 'import sep_models; print(sep_models.golden_clip())'
        }
        Invoke-Checked $Own @('-I', '-m', 'sep_launcher', 'run', $Example, '--resume')
    }
    Add-ToPath (Join-Path $Data 'bin')
    Say 'ready: sep run drums.wav, or sep ui for a window (or: py -m sep_launcher, in an environment where you installed it yourself)'
}

Main
