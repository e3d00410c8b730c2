using System.Text.RegularExpressions;
using System.Xml.Linq;
using NUnit.Framework;

namespace Saturn.Tests.Architecture;

/// <summary>The house of docs/architecture.md: a project refers only to projects on floors below its own, and each floor knows nothing of what it must not know.</summary>
public sealed class FloorTests
{
    private static readonly Dictionary<string, int> Floors = new()
    {
        ["Saturn.Kernels"] = 1,
        ["Saturn.Engine"] = 2,
        ["Saturn.Emulator"] = 2,
        ["Saturn.Layers"] = 3,
        ["Saturn.Prune"] = 4,
        ["Saturn.Training"] = 5,
        ["Saturn.Bench"] = 6,
        ["Saturn.Cli"] = 7,
    };

    internal static readonly string Root = FindRoot();

    private static IEnumerable<string> Projects =>
        Directory.EnumerateFiles(Root, "*.csproj", SearchOption.AllDirectories)
            .Where(path => !path.Contains("/artifacts/") && !path.Contains("/samples/") && Path.GetFileNameWithoutExtension(path) != "Saturn.Tests");

    [Test]
    public void Every_project_stands_on_a_floor() =>
        Assert.That(Projects.Select(Path.GetFileNameWithoutExtension), Is.EquivalentTo(Floors.Keys));

    [TestCaseSource(nameof(Projects))]
    public void A_project_refers_only_to_floors_below(string path)
    {
        string name = Path.GetFileNameWithoutExtension(path);
        foreach (string reference in XDocument.Load(path).Descendants("ProjectReference").Select(element => element.Attribute("Include")!.Value))
        {
            string target = Path.GetFileNameWithoutExtension(reference.Replace('\\', '/'));
            Assert.That(Floors[target], Is.LessThan(Floors[name]), $"{name} refers to {target}");
        }
    }

    [TestCaseSource(nameof(Projects))]
    public void A_source_file_names_only_namespaces_of_floors_below(string path)
    {
        string name = Path.GetFileNameWithoutExtension(path);
        string[] above = [.. Floors.Where(floor => floor.Value > Floors[name]).Select(floor => floor.Key)];
        foreach (string file in Directory.EnumerateFiles(Path.GetDirectoryName(path)!, "*.cs", SearchOption.AllDirectories))
        {
            string text = File.ReadAllText(file);
            foreach (string project in above)
            {
                Assert.That(Regex.IsMatch(text, @"\busing\s+" + Regex.Escape(project)), Is.False, $"{file} uses {project}, which stands above {name}");
            }
        }
    }

    [Test]
    public void Unsafe_code_stays_in_the_kernels_and_the_emulator()
    {
        foreach (string path in Projects.Where(path => Path.GetFileNameWithoutExtension(path) is not ("Saturn.Kernels" or "Saturn.Emulator")))
        {
            Assert.That(File.ReadAllText(path), Does.Not.Contain("AllowUnsafeBlocks>true"), path);
        }
    }

    private static string FindRoot()
    {
        DirectoryInfo? directory = new(TestContext.CurrentContext.TestDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "Saturn.sln")))
        {
            directory = directory.Parent;
        }

        return directory?.FullName ?? throw new InvalidOperationException("Saturn.sln was not found above the tests' folder.");
    }
}
